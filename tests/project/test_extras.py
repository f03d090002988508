"""What each extra can do where nothing else is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.fresh_install import FreshInstall, build_wheel
from harness.processes import Process, short_directory
from harness.running_demo import RunningDemo


@pytest.fixture(scope="module")
def wheel(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree's wheel, built once."""
    return build_wheel(project_root, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def gateway_host(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> FreshInstall:
    """A host with the extra `gateway` alone."""
    return FreshInstall(tmp_path_factory.mktemp("gateway") / "env", wheel, ["gateway"])


def test_a_gateways_host_has_its_command(gateway_host: FreshInstall) -> None:
    """`gatepass gateway` explains itself and starts, without anything of the issuer's."""
    imports = "import importlib.util as u; print([u.find_spec(n) for n in ('flask', 'sqlalchemy')])"
    found = subprocess.run(
        [gateway_host.python, "-I", "-c", imports], check=True, capture_output=True, text=True
    )
    assert found.stdout == "[None, None]\n"
    helped = gateway_host.gatepass("gateway", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "--denylist-file" in helped.stdout
    settings = ["--issuer", "http://127.0.0.1:1", "--audience", "api", "--port", "0", "--json"]
    command = gateway_host.command("gateway", *settings, "--denylist", "redis://127.0.0.1:1")
    with Process(command) as running:
        logged = running.wait_for_line(r'^\{.*"signatures_checked".*\}$', stream="stderr")
        told = json.loads(logged[0])
        assert (told["es256"], told["eddsa"]) == ("OpenSSL", "OpenSSL")
        url = json.loads(running.wait_for_line(r"^\{.*\}$")[0])["url"]
        assert running.wait_for_url(f"{url}/healthz") == 200
        assert running.stop() == 0


def test_a_gateways_host_is_told_what_the_rest_needs(gateway_host: FreshInstall) -> None:
    """Every command is listed, and one that is not installed names its extra."""
    listed = gateway_host.gatepass("--help")
    assert listed.returncode == 0, listed.stderr
    assert "gateway  " in listed.stdout
    assert re.search(r"\n  serve +Not installed: pip install 'gatepass\[issuer\]'", listed.stdout)
    for command in ("serve", "users"):
        failed = gateway_host.gatepass(command, "add", "--json")
        assert failed.returncode == 2
        assert "pip install 'gatepass[issuer]'" in failed.stderr
        assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("extras", "libraries"), [([], {"OpenSSL"}), (["fast"], {"AWS-LC", "libsodium"})]
)
def test_the_library_verifies_with_and_without_faster_checks(
    wheel: Path, tmp_path: Path, extras: list[str], libraries: set[str]
) -> None:
    """Good signatures pass and others do not, by the libraries that the extra brings or leaves."""
    installed = FreshInstall(tmp_path / "env", wheel, extras)
    done = subprocess.run(
        [installed.python, "-I", "-c", VERIFIED], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {library for library, _ in told} == libraries
    assert [verdicts for _, verdicts in told] == [[True, False]] * 2


VERIFIED = """
import json
import jwt
from keys import generate
from tokens import BadSignature, VerificationKey, signature_libraries, verify_jws

def accepted(token, key):
    try:
        verify_jws(token, key)
    except BadSignature:
        return False
    return True

for alg in ("ES256", "EdDSA"):
    own, other = (generate(alg, 0) for _ in range(2))
    key = VerificationKey.of(own.kid, alg, own.public)
    tokens = [jwt.encode({"sub": "a"}, each.private, algorithm=alg) for each in (own, other)]
    print(json.dumps([signature_libraries()[alg], [accepted(token, key) for token in tokens]]))
"""


def test_an_installed_demo_has_its_pages(wheel: Path, tmp_path: Path) -> None:
    """The pages and the module that they load come with the wheel."""
    issuer_host = FreshInstall(tmp_path / "env", wheel, ["issuer"])
    directory = short_directory("gp-inst-")
    with RunningDemo(directory / "state", program=issuer_host.command()) as demo:
        page = demo.site.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for path in re.findall(r'(?:src|href)="(/spa/[^"]+)"', page.content.decode()):
            assert demo.site.get(path).status == 200, path
        assert demo.site.get("/spa/src/index.js").status == 200
    shutil.rmtree(directory)


def test_without_any_extra_there_is_no_command_line(wheel: Path, tmp_path: Path) -> None:
    """The library alone says in one line which extras have one."""
    failed = FreshInstall(tmp_path / "env", wheel, []).gatepass("gateway")
    assert failed.returncode == 1
    assert failed.stderr.splitlines() == [
        "gatepass: the command line comes with an extra:"
        " pip install 'gatepass[issuer]' or 'gatepass[gateway]'"
    ]
