"""A real gateway for browsers: `gatepass gateway` in a demo's time, and a backend that it protects.

    gate.follow(described, shift_file)
    caddy = gate.open("caddy", in_front_of(port_of_the_issuer))
    caddy.url + "/api"            # protected; everything else is the issuer's and its pages'
    gate.backend.seen[-1]         # what the API was sent

The gateways are configured as their pages in the docs say, with what a front end needs of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from harness.echo_backend import EchoBackend
from harness.forward_auth import ForwardAuthService, RealGateway

DOCS = Path(__file__).resolve().parent.parent.parent.parent / "docs"
_LISTED = re.compile(r"^.*https://shop\.example.*\n", re.MULTILINE)
"""The lines that name the origin whose pages a documented gateway lets call."""


class BrowserGateway:
    """The service and the backend, and as many gateways in front of them as a test opens."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.backend = EchoBackend()

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._stack.enter_context(self.backend)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def follow(self, described: Mapping[str, Any], clock: Path) -> None:
        """Start the service for a demo's issuer and denylist, in the time of the clock's file."""
        self.service = ForwardAuthService(
            described["base_url"],
            described["denylist_url"],
            audience=described["audience"],
            alterations=(f"gateway-clock={clock}",),
        )
        self._stack.enter_context(self.service)

    def open(self, name: str, change: Callable[[str], str], port: int = 0) -> RealGateway:
        """A gateway whose documented configuration is changed so; it lives as long as this."""
        self.service.wait_ready()
        gateway = RealGateway(
            name,
            DOCS,
            self._directory,
            service=self.service.port,
            backend=self.backend.port,
            change=change,
            port=port,
        )
        return self._stack.enter_context(gateway)


def in_front_of(issuer: int) -> Callable[[str], str]:
    """Caddy in front of all: the API's path is protected, the rest is the issuer's, by its port."""
    protected = "\t\thandle {\n"
    rest = f"\n\t\thandle {{\n\t\t\treverse_proxy 127.0.0.1:{issuer}\n\t\t}}\n"

    def change(text: str) -> str:
        before, after = text.split(protected)
        body, end, tail = after.partition("\t\t}\n")
        return f"{before}\t\thandle /api* {{\n{body}{end}{rest}{tail}"

    return change


def asks_nobody(text: str) -> str:
    """A mutant of Caddy's configuration: the API's path is not protected."""
    return text.replace("\t\t\timport gatepass /verify\n", "")


def called_from(*origins: str) -> Callable[[str], str]:
    """Pages of these origins call the API, and none of the documented one."""

    def change(text: str) -> str:
        return _LISTED.sub(
            lambda line: "".join(line[0].replace("https://shop.example", each) for each in origins),
            text,
        )

    return change
