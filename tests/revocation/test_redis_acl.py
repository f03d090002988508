"""The users of docs/deployment.md: with their rights all works, and with one less it does not."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path

import pytest
import redis
from harness.denylists import KID, Token
from harness.issuer_app import IssuerApp, migrated_sqlite
from harness.other_servers import redis_8, valkey
from harness.processes import Process, free_port, require_binary, short_directory
from harness.redis_cluster import RedisCluster
from harness.redis_server import RedisServer

from issuer.families import (
    Draft,
    FamilyUnavailable,
    NewFamily,
    RotationRules,
    Status,
    open_families,
)
from issuer.limits.errors import LimitsUnavailable
from issuer.limits.redis_counts import RedisCounts
from issuer.status_lists import StatusRecord, open_status_store
from revocation import (
    DenylistUnavailable,
    Entry,
    Kind,
    Position,
    Probe,
    Replica,
    RevocationError,
    TooFewConfirmations,
    open_denylist,
)
from revocation.redis_client import connect, evicting_policy

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "deployment.md"
NOW = int(time.time())
ISSUER, GATEWAY, SENTINEL = "gatepass-issuer", "gatepass-gateway", "gatepass"
CLUSTER_RIGHTS = ("+command", "+cluster|slots", "+asking")
_numbers = count()


@cache
def users() -> dict[str, list[str]]:
    """The rules of each user that the document names."""
    found = re.findall(r"^user (\S+) (.*)$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    return {name: rules.split() for name, rules in found}


def rights(name: str) -> list[str]:
    """The commands that the document grants a user."""
    return [rule for rule in users()[name] if rule.startswith("+")]


def password(name: str) -> str:
    """The password that the document gives a user."""
    return next(rule[1:] for rule in users()[name] if rule.startswith(">"))


def grant(server: redis.Redis, name: str, *, without: str = "", more: tuple[str, ...] = ()) -> None:
    """Make the user as the document says, but for one right, or with more."""
    rules = [rule for rule in users()[name] if rule != without]
    server.execute_command("ACL", "SETUSER", name, "reset", *rules, *more)


def under(url: str, name: str) -> str:
    """The address, for that user."""
    return url.replace("://", f"://{name}:{password(name)}@", 1)


# --- what issuers and gateways do ----------------------------------------------------------------


def issue(url: str, replicas: int = 0) -> None:
    """Everything that an issuer and its commands ask of Redis, in a namespace of its own."""
    with contextlib.ExitStack() as stack:
        namespace = f"gatepass:{next(_numbers)}"
        denylist = open_denylist(url, namespace=namespace, replicas=replicas)
        stack.callback(denylist.close)
        assert evicting_policy(url) is None
        epoch = denylist.initialise(watermark=0).position.epoch
        place = denylist.mark_ready(epoch, Position(epoch, 5, ""))
        with contextlib.suppress(TooFewConfirmations):
            denylist.add([Entry.session("A" * 22, NOW + 86_400), Entry.key("k")], place)
        denylist.heartbeat(0, place)
        denylist.lookup(Token().probe(denylist, KID), place)
        assert len(list(denylist.snapshot().records)) == 2
        denylist.replace(watermark=0)
        families = open_families(url, RotationRules(), namespace=namespace)
        stack.callback(families.close)
        new = person("ann")
        families.create(new, draft=Draft("a draft", "{}"))
        assert [left.id for left in families.left_drafts()] == ["a draft"]
        families.drop_drafts([("ann", "a draft")])
        assert list(families.left_drafts()) == []
        families.rotate("ann", new.sid, 1, credential_version=1)
        assert families.get("ann", new.sid) is not None
        assert len(families.of_subject("ann")) == 1
        assert dict(families.versions()) == {"ann": 1}
        families.mark("ann", new.sid, Status.ENDED)
        assert families.clear(below=2) == 1
        families.ping()
        counts = RedisCounts(url, namespace=namespace)
        stack.callback(counts.close)
        counts.incr("guesses", 60)
        assert counts.get("guesses") == 1
        assert counts.get_expiry("guesses") > NOW
        counts.networks.remember("ann", "here")
        assert counts.networks.is_known("ann", "here")
        counts.clear("guesses")


def person(sub: str) -> NewFamily:
    """A session to be made."""
    return NewFamily(
        sub=sub,
        sid="A" * 22,
        client_id="app",
        credential_version=1,
        auth_time=NOW,
        amr=("pwd",),
        scope="",
        idle=100,
        absolute_end=NOW + 86_400,
    )


def follow(url: str) -> None:
    """Everything that a gateway asks of Redis: snapshot, feed, look-up."""
    with contextlib.closing(open_denylist(url)) as denylist:
        replica = Replica(denylist)
        replica.step(0)
        replica.step(0.01)
        assert len(replica) > 0
        denylist.lookup(Token().probe(denylist, KID), denylist.state().position)


def fill(url: str) -> None:
    """A denylist for gateways to read."""
    with contextlib.closing(open_denylist(url)) as denylist:
        denylist.initialise(watermark=0)
        denylist.mark_ready()
        denylist.add([Entry.session("A" * 22, NOW + 86_400), Entry.key("k")])
        denylist.heartbeat(0)


def refused(work: Callable[[str], None], url: str) -> bool:
    """Whether Redis refuses something that this work needs."""
    try:
        work(url)
    except (RevocationError, FamilyUnavailable, LimitsUnavailable) as error:
        return "Redis refuses" in str(error)
    return False


# --- one server, over TLS ------------------------------------------------------------------------


@pytest.fixture
def server(rediss_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis behind TLS with both users, and a denylist to read."""
    admin = rediss_server.client()
    for name in (ISSUER, GATEWAY):
        grant(admin, name)
    fill(rediss_server.tls_url)
    yield rediss_server
    for name in (ISSUER, GATEWAY):
        admin.acl_deluser(name)


def test_an_issuer_and_a_gateway_work_under_the_documented_users(
    server: RedisServer, tmp_path: Path
) -> None:
    """An issuer logs in, refreshes and changes a password; the gateway learns what that ended."""
    server.client().flushall()
    database = migrated_sqlite(tmp_path / "issuer.db")
    issuer_url = under(server.tls_url, ISSUER)
    with IssuerApp.build(f"sqlite:///{database}", issuer_url, tmp_path) as issuer:
        granted = issuer.grant()
        assert issuer.refresh(granted["refresh_token"]).status_code == 200
        assert issuer.ask("GET", "/readyz").status_code == 200
        assert issuer.change_password(granted["access_token"]).status_code == 200
        claims = issuer.services.verifier.verify(granted["access_token"])
        with contextlib.closing(open_denylist(under(server.tls_url, GATEWAY))) as denylist:
            probe = Probe.of(claims, KID, denylist.state().salt)
            assert denylist.lookup(probe) is Kind.SUBJECT


def test_the_issuers_rights_suffice_and_none_is_too_many(server: RedisServer) -> None:
    """Each command taken away makes something fail that an issuer does."""
    url, admin = under(server.unix_url, ISSUER), server.client()
    issue(url)
    for right in rights(ISSUER):
        grant(admin, ISSUER, without=right)
        admin.script_flush()
        assert refused(issue, url), f"{right} is not needed"


def test_the_gateways_rights_suffice_and_none_is_too_many(server: RedisServer) -> None:
    """Each command taken away makes something fail that a gateway does."""
    url, admin = under(server.unix_url, GATEWAY), server.client()
    follow(url)
    for right in rights(GATEWAY):
        grant(admin, GATEWAY, without=right)
        admin.script_flush()
        assert refused(follow, url), f"{right} is not needed"


def hand_on(url: str) -> None:
    """What an issuer asks of Redis for status lists and for gateways on its HTTP feed."""
    with contextlib.closing(open_status_store(url)) as places:
        record = StatusRecord(
            jti="j",
            sid="s",
            sub="u",
            sub_ver=1,
            client_id="c",
            aud=("a",),
            iat=NOW,
            exp=NOW,
            kid="k",
        )
        list_id, place = places.assign(record, NOW)
        assert places.read(list_id, NOW)[place] == record
    follow(url)


def test_an_issuer_that_hands_the_denylist_on_needs_one_more_right(server: RedisServer) -> None:
    """`+xread`, for a client with `status_list` or for `gateways`."""
    assert "+xread" in DOCUMENT.read_text("utf-8").replace(" ".join(users()[GATEWAY]), "")
    assert refused(hand_on, under(server.tls_url, ISSUER))
    grant(server.client(), ISSUER, more=("+xread",))
    hand_on(under(server.tls_url, ISSUER))


def test_a_gateway_cannot_write_and_sees_no_session(server: RedisServer) -> None:
    """Neither the denylist nor a family: no command that writes, no key but the denylist's."""
    url = under(server.tls_url, GATEWAY)
    with contextlib.closing(open_denylist(url)) as denylist:
        for write in (
            lambda: denylist.initialise(watermark=0),
            lambda: denylist.replace(watermark=0),
            denylist.mark_ready,
            lambda: denylist.add([Entry.key("other")]),
            lambda: denylist.heartbeat(0),
        ):
            with pytest.raises(DenylistUnavailable, match="NoPermissionError"):
                write()
    families = open_families(url, RotationRules())
    with contextlib.closing(families):
        with pytest.raises(FamilyUnavailable, match="NoPermissionError"):
            families.get("ann", "A" * 22)
        with pytest.raises(FamilyUnavailable, match="NoPermissionError"):
            families.of_subject("ann")
    script = "return redis.call('HSET', KEYS[1], 'ready', 1)"
    with contextlib.closing(connect(url)) as client, pytest.raises(redis.ResponseError):
        client.eval_ro(script, 1, "gatepass:{denylist}")


def test_a_client_certificate_and_a_user(server: RedisServer) -> None:
    """A server that asks for client certificates is reached with `ssl_certfile`, not without."""
    admin, made = server.client(), server.certificates
    assert made is not None
    admin.config_set("tls-auth-clients", "yes")
    try:
        bare = under(server.tls_url, GATEWAY)
        follow(f"{bare}&ssl_certfile={made.certificate}&ssl_keyfile={made.key}")
        with pytest.raises(RevocationError):
            follow(bare)
    finally:
        redis.Redis.from_url(server.unix_url).config_set("tls-auth-clients", "no")


# --- others --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Redis 7.0", "Redis 8", "Valkey"])
def test_confirmation_needs_one_more_right(kind: str) -> None:
    """`WAIT` or `WAITAOF`, whichever the server has; every other right is the same everywhere."""
    binary, more = {
        "Redis 7.0": (None, "+wait"),
        "Redis 8": (redis_8(), "+waitaof"),
        "Valkey": (valkey(), "+waitaof"),
    }[kind]
    with RedisServer(tcp=True, binary=binary) as other:
        grant(other.client(), ISSUER)
        with pytest.raises(DenylistUnavailable, match="NoPermissionError"):
            issue(under(other.tcp_url, ISSUER), replicas=1)
        grant(other.client(), ISSUER, more=(more,))
        issue(under(other.tcp_url, ISSUER), replicas=1)
        grant(other.client(), GATEWAY)
        fill(other.tcp_url)
        follow(under(other.tcp_url, GATEWAY))


def test_a_cluster_needs_its_layout_and_asking() -> None:
    """Three rights beside the others, one of them while a slot is on its way to another node."""
    assert " ".join(CLUSTER_RIGHTS) in DOCUMENT.read_text("utf-8")
    with RedisCluster() as cluster:
        nodes = [node.client() for node in cluster.masters]

        def allow(*more: str) -> None:
            for node in nodes:
                grant(node, ISSUER, more=more)
                grant(node, GATEWAY, more=more)

        def look(url: str) -> None:
            with contextlib.closing(open_families(url, RotationRules())) as families:
                assert families.get("ann", "A" * 22) is None

        url = under(cluster.url, ISSUER)
        allow(*CLUSTER_RIGHTS)
        issue(url)
        fill(url)
        follow(under(cluster.url, GATEWAY))
        for right in CLUSTER_RIGHTS[:2]:
            allow(*(other for other in CLUSTER_RIGHTS if other != right))
            with pytest.raises(DenylistUnavailable):
                issue(url)
        allow(*CLUSTER_RIGHTS)
        begin_to_move_everything(cluster)
        look(url)
        allow(*CLUSTER_RIGHTS[:2])
        with pytest.raises(FamilyUnavailable, match="NoPermissionError"):
            look(url)


def begin_to_move_everything(cluster: RedisCluster) -> None:
    """Every slot is on its way from its master to the next one."""
    ids = [node.client().execute_command("CLUSTER", "MYID") for node in cluster.masters]
    for index, node in enumerate(cluster.masters):
        target = (index + 1) % len(ids)
        leaving = node.client().pipeline(transaction=False)
        taking = cluster.masters[target].client().pipeline(transaction=False)
        for slot in node.slots:
            leaving.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
            taking.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[index])
        leaving.execute()
        taking.execute()


def test_a_sentinel_needs_one_right(server: RedisServer) -> None:
    """The sentinels have a user of their own, which may ask for the masters and nothing else."""
    directory, port = short_directory("gp-sentinel-"), free_port()
    with RedisServer(tcp=True) as master:
        grant(master.client(), ISSUER)
        config = directory / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"user default off\nuser {SENTINEL} {' '.join(users()[SENTINEL])}\n"
            f"sentinel monitor service 127.0.0.1 {master.port} 1\n"
        )
        binary = require_binary("redis-server", "redis-server")
        with Process([binary, str(config), "--sentinel"]) as sentinel:
            sentinel.wait_for_line("monitor master service")
            login = f"sentinel_username={SENTINEL}&sentinel_password={password(SENTINEL)}"
            base = under(f"redis+sentinel://127.0.0.1:{port}/service", ISSUER)
            issue(f"{base}?{login}")
            with pytest.raises(DenylistUnavailable):
                issue(base)
