"""How the denylist connects to a real Redis, and what it says where it cannot."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from harness.certificates import make_certificates
from harness.denylists import (
    contents,
)
from harness.redis_server import RedisServer

from revocation import (
    BadDenylistUrl,
    DenylistLost,
    DenylistUnavailable,
    Entry,
    open_denylist,
)
from revocation.redis_client import evicting_policy


@pytest.mark.parametrize(
    "url",
    [
        "",
        "denylist",
        "http://127.0.0.1/",
        "redis:/127.0.0.1",
        "redis://[::1",
        "redis://127.0.0.1:port/0",
        "redis://:hunter:2@127.0.0.1:99999/0",
        "redis://127.0.0.1/0?socket_timeout=hunter2",
        "redis://127.0.0.1/0?hunter2=1",
        "unix://",
        "unix://?db=0",
        "rediss://127.0.0.1/0?ssl_ca_cert=hunter2",
    ],
)
def test_a_url_that_means_nothing_is_refused_at_once(url: str) -> None:
    """A broken URL is told on opening, without quoting what may be a password."""
    with pytest.raises(BadDenylistUrl) as refusal:
        open_denylist(url)
    assert "hunter" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.code == "bad_denylist_url"


def test_namespaces_are_apart(redis_url: str) -> None:
    """Two denylists on one Redis share neither epoch nor entries."""
    one, two = (open_denylist(redis_url, namespace=name) for name in ("one", "two"))
    with contextlib.closing(one), contextlib.closing(two):
        one.initialise(watermark=0)
        one.add([Entry.key("k")])
        with pytest.raises(DenylistLost):
            two.state()
        two.initialise(watermark=0)
        assert contents(two) == {}


def test_tls_needs_the_authority_of_the_url(rediss_server: RedisServer, tmp_path: Path) -> None:
    """`ssl_ca_certs` names whom to trust; another authority, none, or a missing file is refused."""
    trusted = open_denylist(rediss_server.tls_url)
    trusted.initialise(watermark=0)
    trusted.mark_ready()
    trusted.add([Entry.key("k")])
    assert len(contents(trusted)) == 1
    trusted.close()
    bare = rediss_server.tls_url.partition("?")[0]
    stranger = make_certificates(tmp_path).authority
    untrusted = "its certificate is not trusted, or is for another name"
    for query, reason in (
        ("", untrusted),
        (f"?ssl_ca_certs={stranger}", untrusted),
        (f"?ssl_ca_certs={tmp_path / 'none.pem'}", "No such file or directory"),
    ):
        refused = open_denylist(bare + query)
        with pytest.raises(DenylistUnavailable) as refusal:
            refused.state()
        assert str(tmp_path) not in str(refusal.value)
        assert str(refusal.value).endswith(reason)
        refused.close()


def test_plain_tcp_to_a_tls_port_is_refused(rediss_server: RedisServer) -> None:
    """No TLS where the server wants it is a server that does not answer."""
    denylist = open_denylist(f"redis://127.0.0.1:{rediss_server.tls_port}/0")
    with contextlib.closing(denylist), pytest.raises(DenylistUnavailable):
        denylist.state()


def test_a_failure_says_why_without_the_address(private_redis: RedisServer) -> None:
    """A wrong password is no outage; of an outage the message has what the system calls it."""
    private_redis.client().config_set("requirepass", "right")
    for url, reason in (
        (f"unix://:wrong@{private_redis.socket}", "Redis refuses the user or the password"),
        (f"unix://{private_redis.socket}", "Redis refuses the user or the password"),
        ("redis://127.0.0.1:1/0", "Redis does not answer: Connection refused"),
        ("unix:///nowhere.sock", "Redis does not answer: No such file or directory"),
    ):
        denylist = open_denylist(url)
        with contextlib.closing(denylist), pytest.raises(DenylistUnavailable) as refusal:
            denylist.state()
        assert str(refusal.value) == reason


def test_an_evicting_server_is_known(private_redis: RedisServer) -> None:
    """The policy is named where it may drop our keys, and None where it may not or is secret."""
    url, client = private_redis.unix_url, private_redis.client()
    assert evicting_policy(url) is None
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert evicting_policy(url) == "allkeys-lru"
    client.acl_setuser("managed", enabled=True, nopass=True, commands=["+@all", "-info"])
    assert evicting_policy(f"unix://managed:any@{private_redis.socket}") is None
    private_redis.kill()
    with pytest.raises(DenylistUnavailable):
        evicting_policy(url)
