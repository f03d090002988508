"""The demo's pages: files of `spa/`, under a policy that lets no script run but theirs."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOLDERS = ("demo", "src")
_START = "demo/index.html"

PAGE_HEADERS = {
    # No inline script or style, no foreign source, no string that becomes script (ASVS 3.4.3).
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(),"
        " microphone=(), midi=(), payment=(), usb=()"
    ),
    "Cache-Control": "no-cache",
}


def pages_folder() -> Path:
    """Where `spa/` is: inside the package where it is installed, beside it in the tree."""
    inside = Path(str(files("issuer"))) / "spa"
    return inside if inside.is_dir() else inside.parent.parent / "spa"


def pages(folder: Path) -> Blueprint:
    """The pages at `/`, their parts under `/spa/`; only files that are there now are served."""
    blueprint = Blueprint("pages", __name__)
    known = {
        path.relative_to(folder).as_posix(): (path.read_bytes(), _TYPES[path.suffix])
        for name in _FOLDERS
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and path.suffix in _TYPES
    }

    def answer(name: str) -> Response:
        if name not in known:
            raise NotFound
        content, content_type = known[name]
        response = Response(content, content_type=content_type, headers=PAGE_HEADERS)
        response.add_etag()
        response.make_conditional(request)
        return response

    @blueprint.get("/")
    def start() -> Response:
        return answer(_START)

    @blueprint.get("/spa/<path:name>")
    def part(name: str) -> Response:
        return answer(name)

    return blueprint
