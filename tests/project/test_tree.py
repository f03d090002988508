"""What the repository may hold: the decided top level, no traces of one machine, no secrets."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

REQUIRED = {"pyproject.toml", "tokens", "issuer", "revocation", "tests", "keys", "README.md"}
DECIDED = {"gateway", "spa", "benchmarks", "docs"}
BESIDE_THEM = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "SECURITY.md",
    "requirements-test.lock",
    "requirements.lock",
    "run",
}
GENERATED = (
    ".git",
    ".venv",
    "__pycache__",
    "*.egg-info",
    "dist",
    "build",
    ".coverage*",
    "htmlcov",
    ".hypothesis",
    ".*_cache",
    "node_modules",
    "state",
)
SECRETS = ("*.pem", "*.key", "*.jwe", "*.jwk", "keyring*", "*.sqlite*", ".env", "*.aof", "*.rdb")
MACHINE_PATH = re.compile(
    r"/(?:home|Users)/(?!user\b|you\b|me\b)\w[\w.-]*/"  # somebody's home
    r"|(?<![\w/.])/root/\w"
    r"|(?<![\w/.])/(?:tmp|var/tmp)/\w[\w.-]*/\w"  # somebody's work folder
)
PACKAGE_SOURCE = re.compile(
    r"(?:index[-_]url|find[-_]links|registry)\W{1,4}(?:https?|file)://", re.I
)


def committed(root: Path) -> list[Path]:
    """The files that are, or without git would be, in the repository."""
    git = shutil.which("git")
    if git is not None and (root / ".git").exists():
        options = ["--cached", "--others", "--exclude-standard", "-z"]
        listing = subprocess.run(
            [git, "-c", "safe.directory=*", "-C", str(root), "ls-files", *options],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        paths = {root / name for name in listing.split("\0") if name}
    else:
        paths = set(root.rglob("*"))
    return sorted(
        path
        for path in paths
        if path.is_file()
        and not any(
            fnmatch(part, pattern) for part in path.relative_to(root).parts for pattern in GENERATED
        )
    )


def texts(root: Path) -> dict[str, str]:
    """The committed text files by their path from the top, less this one and its examples."""
    found = {}
    for path in committed(root):
        content = path.read_bytes()
        if b"\0" not in content and path != Path(__file__).resolve():
            found[path.relative_to(root).as_posix()] = content.decode(errors="replace")
    return found


def test_the_top_level_is_as_decided(project_root: Path) -> None:
    """Every decided entry is there, and nothing joined without a decision."""
    listing = {path.relative_to(project_root).parts[0] for path in committed(project_root)}
    assert listing >= REQUIRED
    assert listing <= REQUIRED | DECIDED | BESIDE_THEM


def test_nothing_names_a_path_of_one_machine(project_root: Path) -> None:
    """No file holds a home, a temporary work folder, or the path of this very checkout."""
    # A checkout at /app or the like has too common a name to search for.
    here = re.escape(str(project_root)) if len(project_root.parts) > 2 else r"\Z\A"
    found = [
        f"{name}: {match.group()}"
        for name, text in texts(project_root).items()
        if (match := MACHINE_PATH.search(text)) or (match := re.search(here + r"\b", text))
    ]
    assert found == []


def test_nothing_names_where_packages_come_from(project_root: Path) -> None:
    """Locks hold names, versions and hashes; where to get them is each machine's own setting."""
    files = texts(project_root)
    locks = {name: text for name, text in files.items() if name.endswith(".lock")}
    assert set(locks) == {"requirements.lock", "requirements-test.lock"}
    assert [
        name for name, text in locks.items() if "://" in text or re.search(r"^-", text, re.M)
    ] == []
    assert [name for name, text in files.items() if PACKAGE_SOURCE.search(text)] == []


def test_npm_lock_names_no_host(project_root: Path) -> None:
    """Every package that npm installs is named by version and hash, and none by an address."""
    lock = json.loads((project_root / "spa" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if "integrity" not in entry] == []


@pytest.mark.parametrize(
    "text",
    ["see /home/ann/gatepass/x", "/Users/ann/src", "cd /root/x", "at '/tmp/work/tree'"],
)
def test_a_path_of_one_machine_is_caught(text: str) -> None:
    """The pattern finds homes and work folders."""
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize(
    "text", ["--index-url https://packages.example/simple", "registry=http://packages.example"]
)
def test_a_package_source_is_caught(text: str) -> None:
    """The pattern finds an option that names a host."""
    assert PACKAGE_SOURCE.search(text)


def test_both_locks_agree_and_hash_everything(project_root: Path) -> None:
    """A version is the same in both locks, and each has a hash of every file it may fetch."""
    pins = {}
    for name in ("requirements.lock", "requirements-test.lock"):
        text = (project_root / name).read_text()
        pins[name] = dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.M))
        entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.M)
        assert [entry for entry in entries if "==" in entry and "--hash=sha256:" not in entry] == []
    assert pins["requirements.lock"].items() <= pins["requirements-test.lock"].items()


def test_no_key_material_is_committed(project_root: Path) -> None:
    """Key files, rings, databases and settings live outside the tree."""
    names = [path.relative_to(project_root).as_posix() for path in committed(project_root)]
    code = (".py", ".md", ".js", ".lua")
    assert [
        name
        for name in names
        if not name.endswith(code) and any(fnmatch(name.rpartition("/")[2], s) for s in SECRETS)
    ] == []


def test_tests_never_shadow_the_packages(project_root: Path) -> None:
    """No __init__.py under tests, and no two test modules of one name."""
    paths = [path for path in committed(project_root) if path.suffix == ".py"]
    tests = [path for path in paths if path.relative_to(project_root).parts[0] == "tests"]
    assert [path for path in tests if path.name == "__init__.py"] == []
    names = Counter(path.name for path in tests)
    assert [name for name, count in names.items() if count > 1 and name != "conftest.py"] == []


def test_commands_are_executable(project_root: Path) -> None:
    """The README's commands and CI's can be run as they are written."""
    for name in ("run", ".ci/run"):
        assert (project_root / name).stat().st_mode & 0o111 == 0o111
