"""Every command and example of the docs runs, against the demo that the README's command starts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.processes import Process, free_port, require_binary, short_directory
from harness.warm_process import put_on_path

from issuer.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: path.name)
SETUP_COMMANDS = {"./run demo", "./run test", "./run bench"}
BENCHMARKS = "python -m benchmarks."
"""Run by tests/benchmarks, as the page has them."""
DOCUMENTED_URL = "http://127.0.0.1:8000"
ELSEWHERE = {"acl", "nginx", "caddyfile", "yaml", "haproxy", "js", "ts"}
"""Run by tests/revocation/test_redis_acl.py and tests under tests/gateway and tests/spa; `js` and
`ts` are checked against the types by tests/spa/test_spa_module.py."""
RUNNABLE = {"sh", "python", "output", "toml", "json", *ELSEWHERE}
UNTESTED = "untested"
"""What no test runs, on a page that begins with saying so."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Demo:
    """The running demo, what its first line said, and where the `gatepass` of a shell is."""

    described: dict[str, Any]
    programs: Path

    @property
    def environment(self) -> dict[str, str]:
        binaries = [str(self.programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        return {
            **os.environ,
            "PATH": os.pathsep.join(binaries),
            "STATE": self.described["state_dir"],
            "DENYLIST_URL": self.described["denylist_url"],
        }

    def here(self, text: str) -> str:
        """The documented text, for the port that this demo has."""
        return text.replace(DOCUMENTED_URL, self.described["base_url"])


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """The README's first command, on a port and a state directory of the test's own."""
    put_on_path(programs := short_directory("gp-programs-"))
    state = short_directory("gp-docs-")
    command = ["./run", "demo", "--port", str(free_port()), "--state-dir", str(state), "--json"]
    with Process(command, cwd=ROOT) as process:
        line = process.wait_for_line(r"^\{.*\}$", timeout=240)
        yield Demo(json.loads(line if isinstance(line, str) else line[0]), programs)


def blocks(document: Path) -> list[tuple[str, str]]:
    """Each fenced block of a document: its language and its text."""
    return _BLOCK.findall(document.read_text("utf-8"))


def named(document: Path) -> str:
    return document.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_block_is_of_a_kind_that_is_tested(document: Path) -> None:
    """No example escapes by a language that nothing here runs."""
    languages = {language for language, _ in blocks(document)}
    if UNTESTED in languages:
        assert document.read_text("utf-8").split("\n\n")[1].startswith("**Not tested.**")
    assert languages - {UNTESTED} <= RUNNABLE


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(document: Path) -> None:
    """Each relative link of the docs names a file of the tree."""
    for target in _LINK.findall(document.read_text("utf-8")):
        assert (document.parent / target).exists(), f"{document.name}: {target}"


def shell_script(document: Path) -> str:
    """All shell blocks of a document as one script, without the commands that set things up."""
    lines = [
        line
        for language, text in blocks(document)
        if language == "sh"
        for line in text.splitlines()
        if line not in SETUP_COMMANDS and not line.startswith(BENCHMARKS)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if shell_script(path).strip()], ids=named
)
def test_shell_commands_run(document: Path, demo: Demo, tmp_path: Path) -> None:
    """A document's commands succeed, in order, in one shell; curl fails on an HTTP error."""
    script = demo.here(shell_script(document)).replace("curl -sS", "curl -sS --fail-with-body")
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=tmp_path,
        env=demo.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_python_examples_run_and_print_what_the_docs_say(
    document: Path, demo: Demo, tmp_path: Path
) -> None:
    """A Python block runs as it stands; an `output` block after it is what it prints."""
    found = blocks(document)
    for index, (language, text) in enumerate(found):
        if language != "python":
            continue
        done = subprocess.run(
            [sys.executable, "-c", demo.here(text)],
            cwd=tmp_path,
            env=demo.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if index + 1 < len(found) and found[index + 1][0] == "output":
            assert done.stdout == found[index + 1][1]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_configuration_examples_are_accepted(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TOML block is a whole configuration that the settings take; a JSON block is JSON."""
    monkeypatch.chdir(tmp_path)
    for language, text in blocks(document):
        if language == "json":
            json.loads(text)
        if language == "toml":
            path = tmp_path / "gatepass.toml"
            path.write_text(text, "utf-8")
            monkeypatch.setenv("GATEPASS_CONFIG", str(path))
            assert load_settings().issuer == "https://id.example"


def test_the_two_commands_are_the_ones_that_are_tested() -> None:
    """CI runs the README's second command and nothing cleverer; the fixture above its first."""
    commands = [
        line
        for language, text in blocks(ROOT / "README.md")
        if language == "sh"
        for line in text.splitlines()
        if line.startswith("./run")
    ]
    assert commands == ["./run demo", "./run test"]
    assert "./run test" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_every_setting_is_documented() -> None:
    """docs/settings.md has a row for each setting, under the name of its variable."""
    documented = set(re.findall(r"^\| `([a-z0-9_]+)` ", settings_page(), re.MULTILINE))
    assert documented >= set(Settings.model_fields)


def settings_page() -> str:
    return (ROOT / "docs" / "settings.md").read_text("utf-8")


def test_the_limit_on_login_attempts_is_one_that_nginx_takes(tmp_path: Path) -> None:
    """The page says which line belongs where."""
    (block,) = (text for kind, text in blocks(ROOT / "docs" / "deployment.md") if kind == "nginx")
    zone, locations = block.split("\n", 1)
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {zone}\n"
        f"server {{ listen 127.0.0.1:{free_port()}; {locations} }} }}"
    )
    nginx = require_binary("nginx", "nginx")
    tried = subprocess.run(
        [nginx, "-t", "-c", str(configuration)], capture_output=True, text=True, check=False
    )
    assert tried.returncode == 0, tried.stderr
