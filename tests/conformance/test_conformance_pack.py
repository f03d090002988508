"""The pack's checks: against a demo, against that demo broken on purpose, and against a peer."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.mutants import MUTANTS, broken
from conformance.registry import DOCUMENTS, Check, all_checks
from conformance.running import MET, NOT_MET, NOT_RUN, run
from conformance.target import Target
from harness.conformance_peer import PASSWORD, USERNAME, serving_peer
from harness.conformance_rows import KNOWN
from harness.conformance_target import running_target

PACK = Path(__file__).parent / "pack"
OURS = {"keys", "tokens", "revocation", "gateway", "issuer", "harness", "benchmarks"}


def named(check: Check) -> str:
    return check.name


@pytest.mark.parametrize("check", all_checks(), ids=named)
def test_a_clause_is_met(check: Check, target: Target) -> None:
    """A running demo does what the clause asks for; where the docs say that it does not, it fails.

    A check that begins to pass must leave the list of those that are known to fail.
    """
    outcome = run(check, target)
    assert outcome.result == (NOT_MET if check.name in KNOWN else MET), outcome.why


@pytest.mark.parametrize(
    ("check", "mutant"),
    [
        pytest.param(check, mutant, id=f"{check.name}, {mutant}")
        for check in all_checks()
        for mutant in check.mutants
    ],
)
def test_a_broken_target_is_found_out(check: Check, mutant: str, target: Target) -> None:
    """No check passes whatever is answered: each finds fault with each target broken for it."""
    assert run(check, broken(target, mutant)).result == NOT_MET


def test_every_document_has_a_mutant_and_every_mutant_a_check() -> None:
    """Nothing is broken in vain, and no check goes without a target that it must refuse."""
    assert all(check.mutants for check in all_checks())
    assert {mutant for check in all_checks() for mutant in check.mutants} == set(MUTANTS)
    covered = {clause.document for check in all_checks() for clause in check.clauses}
    # What is not built has no check yet.
    assert covered == set(DOCUMENTS) - {"RFC 9449"}


def test_each_check_shows_a_clause_under_a_name_of_its_own() -> None:
    """No check is without a clause, and no two share a name."""
    checks = all_checks()
    assert all(check.clauses for check in checks)
    assert len({check.name for check in checks}) == len(checks)
    assert set(KNOWN) <= {check.name for check in checks}


def test_the_pack_imports_nothing_of_ours() -> None:
    """It can be copied into another project as it is."""
    for path in PACK.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.partition(".")[0] for name in names} & OURS, path


@pytest.fixture(scope="module")
def peer_url() -> Iterator[str]:
    """A service that is not ours."""
    with serving_peer() as url:
        yield url


PEER_OPTIONS = ("--refresh-in=bearer", "--metadata-path=", "--sessions-path=", "--password-path=")


def report_on(
    url: str, *options: str, username: str = USERNAME, password: str = PASSWORD, **secrets: str
) -> tuple[int, str]:
    """Exit code and output of the documented command."""
    done = subprocess.run(
        [sys.executable, str(PACK), "--base-url", url, "--username", username, *options],
        env={"CONFORMANCE_PASSWORD": password, "PATH": os.environ["PATH"], **secrets},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


def test_the_command_finds_what_the_suite_finds(target: Target, tmp_path: Path) -> None:
    """Given all of its options it runs every check, and fails those that are known to fail."""
    assert target.introspector is not None
    assert target.outsider is not None
    key = tmp_path / "signing"
    key.write_text(json.dumps(target.signing_jwk))
    options = {
        "client-id": target.client_id,
        "api-url": target.api_url,
        "introspection-client": target.introspector[0],
        "outsider-client": target.outsider[0],
        "other-client": target.other_client,
        "idle-client": target.idle_client,
        "absolute-client": target.absolute_client,
        "origin": target.origin,
        "signing-jwk": str(key),
        "grace": str(target.grace),
    }
    code, report = report_on(
        target.base_url,
        *(f"--{name}={value}" for name, value in options.items()),
        username=target.username,
        password=target.password,
        CONFORMANCE_INTROSPECTION_SECRET=target.introspector[1],
        CONFORMANCE_OUTSIDER_SECRET=target.outsider[1],
    )
    assert code == 1
    assert NOT_RUN not in report
    found = {line.split("`")[-2] for line in report.splitlines() if f"| {NOT_MET}: " in line}
    assert found == set(KNOWN)


def test_an_issuer_that_believes_every_page_is_found_out() -> None:
    """With the look at `Origin` taken out of the issuer itself, the pack says so."""
    with running_target("no-origin-check") as broken_issuer:
        results = {
            check.name: run(check, broken_issuer).result
            for check in all_checks()
            if check.name.startswith("browser_apps.foreign_page_")
        }
    assert len(results) == 2
    assert set(results.values()) == {NOT_MET}


@pytest.mark.foreign_log("flask-jwt-extended's development server")
def test_a_foreign_service_is_told_what_it_lacks(peer_url: str) -> None:
    """Against flask-jwt-extended as documented the command tells met from not met, and why."""
    code, report = report_on(
        peer_url, "--api-url", f"{peer_url}/protected", "--page-path=", *PEER_OPTIONS
    )
    assert code == 1
    (none,) = _rows(report, "jwt_practices.none_is_refused", "3.1")
    assert none.endswith(f"| {MET} |")
    (challenge,) = _rows(report, "jwt_access_tokens.refusal_is_a_challenge", "4")
    assert challenge.endswith(f"| {NOT_MET}: answered 422 |")
    (audience,) = _rows(report, "jwt_access_tokens.aud_is_there", "2.2")
    assert audience.endswith(f"| {NOT_MET}: aud is None |")
    (rotation,) = _rows(report, "oauth_security.refresh_rotates", "2.2.2")
    assert rotation.endswith(f"| {NOT_MET}: the refresh gives no refresh token |")
    (unique,) = _rows(report, "jwt_access_tokens.ids_are_unique", "2.2")
    assert unique.endswith(f"| {MET} |")
    (keys,) = _rows(report, "jwt_practices.keys_are_long_enough", "3.5")
    assert keys.endswith(f"| {NOT_RUN}: needs metadata |")
    assert "Traceback" not in report


@pytest.mark.foreign_log("flask-jwt-extended's development server")
def test_whatever_a_service_answers_is_a_finding(peer_url: str) -> None:
    """A service that knows none of the addresses is no reason for the command to fail."""
    code, report = report_on(f"{peer_url}/nowhere")
    assert code == 1
    assert f"| {MET} |" not in _rows(report, "jwt_access_tokens.sub_is_there", "2.2")[0]
    assert "Traceback" not in report


def _rows(report: str, check: str, number: str) -> list[str]:
    return [
        line
        for line in report.splitlines()
        if line.startswith(f"| {number} |") and f"`{check}`" in line
    ]


def test_every_module_of_checks_is_loaded() -> None:
    """A file of checks that nobody imports would be silently left out."""
    for path in (PACK / "conformance").glob("*.py"):
        before = len(all_checks())
        importlib.import_module(f"conformance.{path.stem}")
        assert len(all_checks()) == before, path
