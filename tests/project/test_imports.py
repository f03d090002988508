"""The import direction that docs and design draw, held by a walk over the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MAY_IMPORT = {
    "keys": set(),
    "tokens": {"keys"},
    "revocation": set(),
    "gateway": {"tokens", "keys", "revocation"},
    "issuer": {"tokens", "keys", "revocation"},
}
OURS = {*MAY_IMPORT, "benchmarks", "tests", "harness"}
# The demo mounts the example API beside the issuer, so that one command shows both.
EXCEPTIONS = {("issuer/demo.py", "gateway")}
# Adapters of the gateway's, each named for its framework, which is imported nowhere else.
EXCEPTIONS |= {
    ("gateway/flask_guard.py", "flask"),
    ("gateway/fastapi_guard.py", "fastapi"),
}
GATEWAY_ADAPTERS_ONLY = {"fastapi", "starlette"}
ISSUER_ONLY = {"flask", "flask_limiter", "werkzeug", "sqlalchemy", "alembic", "argon2", "psycopg"}


def imported(path: Path, package_depth: int) -> Iterator[tuple[int, str]]:
    """Line and absolute name of each import, lazy and by name too; "..." for one that leaves."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level > package_depth:
            yield node.lineno, "..."
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else None
            called = node.func.id if isinstance(node.func, ast.Name) else called
            if called in ("import_module", "__import__"):
                yield node.lineno, str(node.args[0].value)


def violations(root: Path) -> list[str]:
    """Every import under `root` that the direction forbids, as `file:line: name`."""
    found = []
    for package, allowed in MAY_IMPORT.items():
        for path in sorted((root / package).rglob("*.py")):
            file = path.relative_to(root)
            for line, name in imported(path, len(file.parts) - 1):
                top = name.partition(".")[0]
                excepted = any(
                    file.as_posix() == where and f"{name}.".startswith(f"{what}.")
                    for where, what in EXCEPTIONS
                )
                forbidden = (
                    name == "..."
                    or (top in OURS - allowed - {package} and not excepted)
                    or (top in ISSUER_ONLY and package != "issuer" and not excepted)
                    or (top in GATEWAY_ADAPTERS_ONLY and not excepted)
                    or (top == "redis" and not any("redis" in part for part in file.parts))
                )
                if forbidden:
                    found.append(f"{file}:{line}: {name}")
    return found


def test_every_import_follows_the_direction(project_root: Path) -> None:
    """No module imports a package that the design does not let it see."""
    assert violations(project_root) == []


def test_every_package_is_walked(project_root: Path) -> None:
    """The walk reads real files in each package, so that its silence means something."""
    for package in MAY_IMPORT:
        assert list((project_root / package).rglob("*.py"))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("keys/ring.py", "import tokens"),
        ("tokens/verify.py", "from revocation import Replica"),
        ("revocation/feed.py", "from keys.ring import KeyRing"),
        ("gateway/wsgi.py", "from issuer import create_app"),
        ("issuer/app.py", "import gateway.example"),
        ("issuer/services.py", "import gateway.verifier"),
        ("issuer/services.py", "from gateway import Verifier"),
        ("gateway/adapter.py", "from flask import g"),
        ("gateway/verifier.py", "import fastapi"),
        ("gateway/flask_guard.py", "import sqlalchemy"),
        ("gateway/flask_guard.py", "import fastapi"),
        ("issuer/app.py", "from starlette.requests import Request"),
        ("tokens/store.py", "import sqlalchemy.orm"),
        ("revocation/feed.py", "import redis"),
        ("revocation/feed.py", "def lazy():\n    from redis import Redis"),
        ("keys/ring.py", "import importlib\nimportlib.import_module('issuer.app')"),
        ("keys/ring.py", "from ..issuer import app"),
        ("issuer/app.py", "from harness.processes import Process"),
    ],
)
def test_a_violation_is_caught(tmp_path: Path, file: str, source: str) -> None:
    """A tree with one forbidden import has exactly that one reported."""
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text(source + "\n")
    assert len(found := violations(tmp_path)) == 1
    assert found[0].startswith(file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("issuer/demo.py", "from gateway.example_api import example_api"),
        ("issuer/demo.py", "import gateway.verifier"),
        ("issuer/http/app.py", "from ..sessions import end\nimport flask\nimport tokens"),
        ("revocation/redis_store.py", "import redis.asyncio"),
        ("gateway/flask_guard.py", "import flask"),
        ("gateway/fastapi_guard.py", "from fastapi import HTTPException"),
        ("gateway/verifier.py", "from keys import KeyRing\nimport revocation\nimport json"),
    ],
)
def test_what_the_direction_allows_passes(tmp_path: Path, file: str, source: str) -> None:
    """The exceptions and the drawn arrows are not reported."""
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(source + "\n")
    assert violations(tmp_path) == []
