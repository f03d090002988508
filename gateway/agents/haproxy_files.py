"""What HAProxy loads when it starts: rules, public keys, and the names of its maps."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from .issuer_keys import PublicKeyFile
from .lua_source import Rules, bundle, digest_of, modules_of, replace_file, source

ALGORITHMS = frozenset({"ES256", "RS256"})
"""What `jwt_verify` of HAProxy 2.6 checks; neither PS256 nor EdDSA."""
SHARDS = 256
"""Maps that the denylist is spread over: to change or delete an entry HAProxy walks one of them."""

SAVED = "saved"
"""The entry of each map that says which saving of the copy it belongs to."""

_PRIVATE = 0o640
"""Of what holds salts and identifiers (docs/replica.md)."""
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+\Z")


class HaproxyFiles:
    """A directory that belongs to one HAProxy; the agent alone writes there."""

    def __init__(self, directory: Path, rules: Rules) -> None:
        """Raises `ValueError` for a directory whose name HAProxy's commands cannot hold."""
        self.directory = directory.resolve()
        if not _PLAIN_PATH.match(str(self.directory)):
            raise ValueError("only letters, digits and ._-/ may be in its path")
        program = bundle(
            source("haproxy.lua"),
            {
                "blake2b": "blake2b53.lua",
                **modules_of(["json", "claims", "denylist", "digests", "identity"]),
            },
            {"directory": str(self.directory), **asdict(rules)},
        )
        self._program = program
        self.digest = digest_of(program)

    @property
    def state_map(self) -> str:
        return str(self.directory / "state.map")

    @property
    def keys_map(self) -> str:
        return str(self.directory / "keys.map")

    def shard(self, number: int) -> str:
        """The map of the identifiers that begin with this byte."""
        return str(self.directory / "denylist" / f"{number:02x}.map")

    def entry(self, key: PublicKeyFile) -> str:
        """What the map of keys says of a key: the algorithm that it serves, and its file."""
        name = hashlib.sha256(key.pem.encode()).hexdigest()[:32]
        return f"{key.alg}:{self.directory / 'keys' / name}.pem"

    def prepare(self) -> None:
        """Write the rules, and whatever else HAProxy needs to start where it is not there yet.

        The maps of the denylist are empty: what is in them comes from the running agent, but for
        what it saves for a reload. They are for the agent's group and nobody else, as is the
        directory that is made here. Raises `OSError`.
        """
        for place in (self.directory, self.directory / "denylist", self.directory / "keys"):
            place.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.forget_copy()
        replace_file(self.directory / "gatepass.lua", self._program)
        if not (self.directory / "keys.cfg").exists():
            self.write_keys({})

    def save_shard(self, number: int, saving: str, entries: Iterable[str]) -> None:
        """Write what one of HAProxy's maps is to hold when it starts.

        It says of itself that it is of `saving`: a HAProxy that starts meanwhile finds maps of two
        savings, and goes by none. Raises `OSError`.
        """
        lines = "".join(f"{entry}\n" for entry in (f"{SAVED} {saving}", *entries))
        replace_file(Path(self.shard(number)), lines, _PRIVATE)

    def save_state(self, state: str) -> None:
        """Write, last of all, what the saved copy is as of. Raises `OSError`."""
        replace_file(Path(self.state_map), f"state {state}\n", _PRIVATE)

    def forget_copy(self) -> None:
        """Let HAProxy start with empty maps, as it should unless it reloads. Raises `OSError`."""
        for path in map(Path, (self.state_map, *map(self.shard, range(SHARDS)))):
            if not (path.exists() and path.stat().st_size == 0):
                replace_file(path, "", _PRIVATE)

    def write_keys(self, keys: Mapping[str, PublicKeyFile]) -> None:
        """Write the keys, by `kid`, for HAProxy to load; each file appears whole."""
        entries = {kid: self.entry(key) for kid, key in keys.items()}
        for kid, entry in entries.items():
            replace_file(Path(entry.partition(":")[2]), keys[kid].pem)
        replace_file(
            Path(self.keys_map), "".join(f"{kid} {entry}\n" for kid, entry in entries.items())
        )
        replace_file(self.directory / "keys.cfg", self._configuration(entries))
        known = {Path(entry.partition(":")[2]) for entry in entries.values()}
        for path in (self.directory / "keys").glob("*.pem"):
            if path not in known:
                path.unlink()

    def _configuration(self, entries: Mapping[str, str]) -> str:
        # `jwt_verify` takes a key by its file's name, but only one that a configuration has named.
        lines = [
            "# Written by `gatepass agent haproxy`; do not edit.",
            "backend gatepass_keys",
            "    mode http",
            "    timeout connect 1s",
            "    timeout server 1s",
        ]
        for entry in entries.values():
            alg, _, path = entry.partition(":")
            lines.append(f'    acl loaded str(-),jwt_verify({alg},"{path}") -m int 1')
        return "\n".join([*lines, ""])
