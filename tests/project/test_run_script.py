"""The entry script: it speaks plainly, also where nothing of what it needs is there."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def run(project_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, pointed at an empty tree so that no test touches the real one."""
    loader = SourceFileLoader("gatepass_run", str(project_root / "run"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "gatepass-stamp.json")
    for name in ("pyproject.toml", "requirements.lock", "requirements-test.lock"):
        (tmp_path / name).write_text(name)
    return module


def test_it_parses_under_an_old_python(project_root: Path) -> None:
    """Python 3.7 reads the whole file, and so gets to the line that says what is needed."""
    ast.parse((project_root / "run").read_text(), feature_version=(3, 7))


def test_help_is_printed_and_an_unknown_command_refused(project_root: Path) -> None:
    """Help goes to standard output with code 0, a wrong command to standard error with code 2."""
    argv = [sys.executable, "-S", str(project_root / "run")]
    told = subprocess.run([*argv, "--help"], check=False, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
    assert "./run demo" in told.stdout
    wrong = subprocess.run([*argv, "deploy"], check=False, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no such command: deploy" in wrong.stderr


def test_an_ordinary_user_is_told_each_missing_package(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for each package, then the exact command."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(run.shutil, "which", lambda name: "/usr/bin/" + name)
    with pytest.raises(run.Stop) as stop:
        run.require_packages(["redis-server", "postgresql"])
    assert str(stop.value).splitlines() == [
        "redis-server is missing.",
        "postgresql is missing.",
        "Install with: sudo apt-get update && sudo apt-get install -y redis-server postgresql",
    ]


def test_a_foreign_venv_is_left_alone(run: ModuleType, tmp_path: Path) -> None:
    """A .venv that the script did not make is never removed."""
    mine = tmp_path / ".venv" / "precious"
    mine.parent.mkdir()
    mine.write_text("x")
    with pytest.raises(run.Stop, match="not made by this script"):
        run.ensure_environment("runtime")
    assert mine.read_text() == "x"


def test_a_matching_stamp_starts_at_once(run: ModuleType, tmp_path: Path) -> None:
    """The test environment serves both kinds, the runtime one only its own, a changed lock none."""
    binary = tmp_path / ".venv" / "bin" / "python"
    binary.parent.mkdir(parents=True)
    binary.symlink_to(sys.executable)
    for kind, good in (("test", {"runtime", "test"}), ("runtime", {"runtime"})):
        run.STAMP.write_text(json.dumps(run.wanted_stamp(kind)))
        assert {k for k in ("runtime", "test") if run.suits(run.stamp(), k)} == good
    (tmp_path / "requirements.lock").write_text("changed")
    assert not run.suits(run.stamp(), "runtime")
    run.STAMP.write_text(run.UNFINISHED)
    assert not run.suits(run.stamp(), "runtime")


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("[Errno 28] No space left on device", "disk is full"),
        ("Temporary failure in name resolution", "no connection"),
        ("npm error code ENOTFOUND", "no connection"),
        ("No matching distribution found (from versions: none)", "no connection"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "differs from the locked hash"),
        ("ERROR: No matching distribution found for x", "no ready-made wheel"),
        ("Could not get lock /var/lib/dpkg/lock", "another apt"),
        ("something else", "last lines"),
    ],
)
def test_a_failure_is_named_in_one_line(run: ModuleType, output: str, cause: str) -> None:
    """What goes wrong on fresh machines is told in words that say what to mend."""
    assert cause in run.likely_cause(output)
    assert "\n" not in run.likely_cause(output)
