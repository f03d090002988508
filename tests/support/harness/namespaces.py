"""Two hosts on one machine: network namespaces with a cable between them that can be pulled."""

from __future__ import annotations

import os
import secrets
import subprocess
from contextlib import ExitStack
from typing import Self

from harness.processes import require_binary

FAR = "10.213.77.1"
NEAR = "10.213.77.2"


class TwoHosts:
    """`far` and `near`, made on entering and gone on leaving; only root may make them."""

    def __init__(self) -> None:
        number = secrets.token_hex(3)
        self.far = f"gp-far-{number}"
        self.near = f"gp-near-{number}"
        self._ip_path = require_binary("ip", "iproute2")
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise RuntimeError("only root may make network namespaces: run this test as root")
        with ExitStack() as stack:
            for name in (self.far, self.near):
                self._ip("netns", "add", name)
                stack.callback(self._ip, "netns", "delete", name)
                self._ip("-n", name, "link", "set", "lo", "up")
            # Interfaces end with their namespace.
            self._ip(
                *("-n", self.far, "link", "add", "cable", "type", "veth"),
                *("peer", "name", "cable", "netns", self.near),
            )
            for name, address in ((self.far, FAR), (self.near, NEAR)):
                self._ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
                self._ip("-n", name, "link", "set", "cable", "up")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def within(self, name: str) -> list[str]:
        """What begins the command line of a program that is to live there."""
        return [self._ip_path, "netns", "exec", name]

    def pull(self) -> None:
        """Cut the two off from each other: packets are lost, nobody is told."""
        self._ip("-n", self.far, "link", "set", "cable", "down")

    def plug(self) -> None:
        """Put the cable back."""
        self._ip("-n", self.far, "link", "set", "cable", "up")

    def _ip(self, *arguments: str) -> None:
        subprocess.run([self._ip_path, *arguments], check=True)
