"""A PKCS#11 token in software: SoftHSM, with a directory of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pkcs11
from harness.processes import require_binary

LABEL = "gatepass tests"
PIN = "user-pin-6402"
SO_PIN = "officer-pin-9917"
_PLACES = ("/usr/lib/softhsm", "/usr/lib64/softhsm", "/usr/local/lib/softhsm")


class SoftHsm:
    """One token; `environment` is what a process needs to see it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._tokens = directory / "tokens"
        self._tokens.mkdir(mode=0o700)
        self._away = directory / "away"
        configuration = directory / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {self._tokens}\n"
            "objectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
        )
        self.environment = {"SOFTHSM2_CONF": str(configuration)}
        self._run("--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", SO_PIN)

    @property
    def module(self) -> Path:
        """The library that a process loads."""
        for place in _PLACES:
            if (found := Path(place, "libsofthsm2.so")).exists():
                return found
        raise RuntimeError("libsofthsm2.so is missing: apt-get install -y softhsm2")

    @property
    def settings(self) -> dict[str, str]:
        """An issuer's settings for it."""
        return {"hsm_module": str(self.module), "hsm_token": LABEL, "hsm_pin": PIN}

    @property
    def variables(self) -> dict[str, str]:
        """The same as environment variables, with what SoftHSM needs itself."""
        named = {f"GATEPASS_{name.upper()}": value for name, value in self.settings.items()}
        return {**named, **self.environment}

    @contextlib.contextmanager
    def seen_here(self) -> Iterator[None]:
        """Let this process see it, and forget it afterwards."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
            pkcs11.unload(str(self.module))

    def take_away(self) -> None:
        """As if somebody pulled it out."""
        self._tokens.rename(self._away)
        self._tokens.mkdir(mode=0o700)

    def put_back(self) -> None:
        """As it was before `take_away`."""
        self._tokens.rmdir()
        self._away.rename(self._tokens)

    def objects(self) -> int:
        """How many objects it holds, by its files."""
        return len(list(self._tokens.rglob("*.object"))) - 1  # one describes the token

    def stored(self) -> bytes:
        """All that is in its files."""
        return b"".join(path.read_bytes() for path in self._tokens.rglob("*.object"))

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            [require_binary("softhsm2-util", "softhsm2"), *arguments],
            check=True,
            env={**os.environ, **self.environment},
            capture_output=True,
        )
