"""The hunt for leaked secrets finds what is planted, in each form, and says how far it looked."""

from __future__ import annotations

import base64
import os
import re
import secrets
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness import leak_hunt, processes
from harness.local_issuer import LocalIssuer
from harness.secrets_made import Secrets

PHRASE = 'a "quoted" pass/word with spaces & ümlauts'
RAW = bytes(range(200, 232))


@pytest.fixture
def access_token() -> str:
    """A signed token."""
    return LocalIssuer().token()


def found(known: Secrets, text: str) -> set[str]:
    """The kinds of the secrets that a text shows."""
    return {leak.kind for leak in known.leaks(f"2026 info event={text} status=200\n")}


FORMS: dict[str, Callable[[str], str]] = {
    "as it stands": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 within something": lambda text: base64.b64encode(b"x:" + text.encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(b"y" + text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "in a URL": urllib.parse.quote,
    "in a form": urllib.parse.quote_plus,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_password_is_found_in_each_form(form: str) -> None:
    """However it was written down."""
    known = Secrets()
    known.add("password", PHRASE)
    assert found(known, FORMS[form](PHRASE)) == {"password"}
    assert found(known, FORMS[form]("another one altogether")) == set()


@pytest.mark.parametrize("form", FORMS)
def test_a_part_of_a_token_is_found_in_each_form(form: str, access_token: str) -> None:
    """Payload and signature alone; the header is the same for everybody."""
    known = Secrets()
    known.add("access token", access_token)
    header, payload, signature = access_token.split(".")
    for part in (payload, signature):
        assert "access token" in found(known, FORMS[form](part))
    assert found(known, header) == set()


def test_a_cut_token_is_found(access_token: str) -> None:
    """Any 31 characters in a row of its secret parts."""
    known = Secrets()
    known.add("access token", access_token)
    secret = access_token.split(".")[1]
    for start in range(len(secret) - 31):
        assert "access token" in found(known, f"({secret[start : start + 31]}...")


@pytest.mark.parametrize(
    "written",
    [
        RAW.hex(),
        RAW.hex().upper(),
        str(int.from_bytes(RAW, "big")),
        base64.b64encode(RAW).decode(),
        base64.urlsafe_b64encode(b"ab" + RAW + b"c").decode(),
    ],
)
def test_key_material_is_found(written: str) -> None:
    """As a number, in hexadecimal, and within a structure in base64."""
    known = Secrets()
    known.add("signing key", RAW)
    assert found(known, written) == {"signing key"}


@pytest.mark.parametrize(
    "text",
    [
        f"eyJhbGciOiJub25lIn0.{secrets.token_urlsafe(9)}.",
        "-----BEGIN EC PRIVATE KEY-----",
        "$argon2id$v=19$m=8,t=1,p=1$",
    ],
    ids=["token", "PEM", "argon2"],
)
def test_some_secrets_are_known_by_their_form(text: str) -> None:
    """Tokens, keys and hashes of programs that nobody watches."""
    assert len(found(Secrets(), text)) == 1


SUITE = """
import logging, sys
import pytest
from harness.local_issuer import LocalIssuer
from harness.processes import Process

@pytest.fixture
def token():
    return LocalIssuer().token()

@pytest.mark.parametrize("number", range(4))
def test_plain(number, token):
    logging.getLogger("gatepass").warning("nothing to see in %s", len(token))

def test_our_own_log(token):
    logging.getLogger("gatepass").warning("refused %s", token.split(".")[1][40:90])

def test_our_own_standard_error(token):
    print(token[-40:], file=sys.stderr)

def test_the_output_of_a_program(token):
    command = "import sys; print(sys.argv[1][::-1])"
    with Process([sys.executable, "-S", "-c", command, token[-50:][::-1]]) as program:
        program.wait()
"""


def test_planted_leaks_fail_a_run_whose_tests_all_pass(tmp_path: Path) -> None:
    """Under xdist too, wherever the secret was written; the run says how far it looked."""
    (tmp_path / "test_suite.py").write_text(SUITE, "utf-8")
    support = str(Path(processes.__file__).resolve().parent.parent)
    plugins = [f"-p{name}" for name in ("harness.leak_hunt", "no:randomly", "no:cacheprovider")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "-n2", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": support, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert "7 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    told = re.search(
        r"leak hunt: (\d+) secrets of .* in (\d+) bytes .* of 2 processes", done.stdout
    )
    assert told is not None, done.stdout
    assert int(told[1]) >= 7
    assert int(told[2]) > 100
    leaks = [line for line in done.stdout.splitlines() if "LEAK of access token" in line]
    for place in ("test_our_own_log", "test_our_own_standard_error", "stdout of "):
        assert len([line for line in leaks if place in line]) == 1, done.stdout
    assert "test_plain" not in "".join(leaks)


def test_a_worker_that_does_not_tell_fails_the_run() -> None:
    """A worker that ended without looking is no worker without leaks."""
    silent = SimpleNamespace(config=SimpleNamespace(stash=pytest.Stash()), workeroutput={})
    silent.config.stash[leak_hunt.FOUND] = []
    leak_hunt.pytest_testnodedown(silent, None)
    assert leak_hunt.failed(silent.config.stash[leak_hunt.FOUND])
    assert not leak_hunt.failed([{"secrets": {}, "bytes": 1, "leaks": []}])
