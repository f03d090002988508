"""What leaves the tree in a wheel or an sdist, and what a gateway's install pulls in."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest
from harness.fresh_install import closure
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGES = ("keys", "tokens", "revocation", "gateway", "issuer")
PLANTED = (
    "keys/keyring.jwe",
    "keys/private.pem",
    "keys/signing.key",
    "keys/active.jwk",
    "keys/keyring.json",
    "keys/gatepass.sqlite3",
    "keys/gatepass.sqlite3-wal",
    "issuer/.env",
    "issuer/state/gatepass.sqlite3",
    "issuer/state/appendonlydir/appendonly.aof.1.incr.aof",
    "issuer/state/appendonlydir/appendonly.aof.1.base.rdb",
    "tests/keyring.jwe",
    "docs/private.pem",
    "spa/demo/private.pem",
    "state/keyring.jwe",
    ".env",
)
SECRET = b"planted-secret-9f2c"
LEFT_OUT = (
    ".git",
    ".venv",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".coverage*",
    "*.egg-info",
    "node_modules",
)
PAGES = "issuer/spa/"
NOT_FOR_GATEWAYS = {"flask", "werkzeug", "sqlalchemy", "alembic", "argon2-cffi", "psycopg"}


class Built:
    """The files of one wheel and one sdist, by their path in the tree."""

    def __init__(self, tree: Path) -> None:
        """Read what `build` left in the tree's dist folder."""
        [wheel] = (tree / "dist").glob("*.whl")
        [sdist] = (tree / "dist").glob("*.tar.gz")
        with zipfile.ZipFile(wheel) as archive:
            self.wheel = {name: archive.read(name) for name in archive.namelist()}
        self.sdist: dict[str, bytes] = {}
        with tarfile.open(sdist) as archive:
            for member in archive.getmembers():
                if (file := archive.extractfile(member)) is not None:
                    self.sdist[member.name.partition("/")[2]] = file.read()


@pytest.fixture(scope="module")
def planted_tree(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with key material in it, and without the .gitignore that also helps."""
    tree = tmp_path_factory.mktemp("packaging") / "tree"
    shutil.copytree(project_root, tree, ignore=shutil.ignore_patterns(*LEFT_OUT, "dist", "build"))
    (tree / ".gitignore").unlink(missing_ok=True)
    for name in PLANTED:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SECRET)
    return tree


@pytest.fixture(scope="module")
def built(planted_tree: Path) -> Built:
    """The wheel and the sdist of the planted tree."""
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--sdist", str(planted_tree)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Built(planted_tree)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_key_material_is_built(built: Built, kind: str) -> None:
    """Keys, rings, databases and settings that strayed into the tree stay out of every build."""
    files: dict[str, bytes] = getattr(built, kind)
    assert files
    assert [name for name, content in files.items() if SECRET in content] == [
        name for name in files if name == "tests/project/test_packaging.py"
    ]
    assert set(files).isdisjoint(PLANTED)


def test_the_wheel_holds_every_file_of_the_packages(planted_tree: Path, built: Built) -> None:
    """Modules, type markers, Lua scripts and migrations are all there, and nothing planted is."""
    wanted = {
        path.relative_to(planted_tree).as_posix()
        for package in PACKAGES
        for path in (planted_tree / package).rglob("*")
        if path.is_file()
    }
    assert wanted - set(PLANTED) == {
        name
        for name in built.wheel
        if PurePosixPath(name).parts[0] in PACKAGES and not name.startswith(PAGES)
    }


def test_the_wheel_holds_the_demo_pages(planted_tree: Path, built: Built) -> None:
    """An installed issuer serves the same pages as the tree, and none of what is beside them."""
    spa = planted_tree / "spa"
    wanted = {
        PAGES + path.relative_to(spa).as_posix()
        for folder in ("demo", "src")
        for path in (spa / folder).rglob("*")
        if path.is_file()
    }
    planted = {name.replace("spa/", PAGES) for name in PLANTED if name.startswith("spa/")}
    found = {name for name in built.wheel if name.startswith(PAGES)}
    assert f"{PAGES}demo/index.html" in found
    assert wanted - planted == found


@pytest.mark.parametrize(
    "pattern",
    [*(f"{package}/py.typed" for package in PACKAGES), "revocation/*.lua", "issuer/*migrations/*"],
)
def test_the_wheel_holds_what_is_no_plain_module(built: Built, pattern: str) -> None:
    """Each package says that it is typed, and the data files that it reads are beside it."""
    assert [name for name in built.wheel if fnmatch(name, pattern)]


def test_the_sdist_can_be_tested_and_licensed(built: Built) -> None:
    """The source distribution carries tests, docs, licence and the file that builds it."""
    tops = {PurePosixPath(name).parts[0] for name in built.sdist}
    assert {*PACKAGES, "tests", "LICENSE", "README.md", "pyproject.toml"} <= tops


def test_the_wheel_puts_only_our_packages_on_the_path(built: Built) -> None:
    """Installing never shadows a stranger's top-level `tests` or `docs`."""
    tops = {PurePosixPath(name).parts[0] for name in built.wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_a_gateway_installs_neither_flask_nor_a_database(built: Built) -> None:
    """The base dependencies, followed to the end, hold nothing that only the issuer needs."""
    [name] = [name for name in built.wheel if name.endswith(".dist-info/METADATA")]
    message = Parser().parsestr(built.wheel[name].decode())
    requirements = [Requirement(line) for line in message.get_all("Requires-Dist", [])]
    assert {"flask", "sqlalchemy", "argon2-cffi"} <= {
        canonicalize_name(requirement.name) for requirement in requirements
    }
    assert closure(requirements).isdisjoint(NOT_FOR_GATEWAYS)
