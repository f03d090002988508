"""`gatepass agent envoy`: keeps a copy of the denylist in a file that Envoy's filter maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from revocation import Replica

from .denylist_source import DenylistSource
from .lua_source import Rules, bundle, modules_of, replace_file, source
from .signals import Signals

if TYPE_CHECKING:
    from ..metrics import Watched

_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class EnvoyCopy:
    """The copy that Envoy's filter maps, as `gateway.metrics.Watched`; Envoy fetches the keys."""

    replica: Replica
    max_staleness: float
    keys: None = None

    @property
    def in_step(self) -> bool:
        return self.replica.staleness() <= self.max_staleness


class EnvoyAgent:
    """Writes the filter, and follows the denylist into the shared replica's file."""

    def __init__(
        self,
        directory: Path,
        rules: Rules,
        denylist: DenylistSource,
        *,
        replica: Path | None = None,
    ) -> None:
        """`replica` is a file that verifiers of this host may share (docs/replica.md)."""
        self._directory = directory.resolve()
        self._rules = rules
        self._denylist = denylist
        self.replica_file = (replica or self._directory / "replica").resolve()

    def prepare(self) -> None:
        """Write the filter that Envoy loads. Raises `OSError`."""
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        program = bundle(
            source("envoy.lua"),
            {
                "blake2b": "blake2b_jit.lua",
                **modules_of(["claims", "denylist", "digests", "identity", "packed"]),
            },
            {"replica": str(self.replica_file), **asdict(self._rules)},
        )
        replace_file(self._directory / "gatepass.lua", program)

    def run(
        self,
        signals: Signals,
        on_step: Callable[[], None],
        watch: Callable[[Watched], object] | None = None,
    ) -> None:
        """Keep the copy in step until a signal comes; `on_step` is called when it first is.

        `watch` is given what tells how the copy stands, before that.
        Raises `PermissionError` where others may write to the file's directory.
        """
        with self._denylist.open() as denylist:
            replica = Replica(
                denylist,
                max_staleness=self._rules.max_staleness,
                heartbeat_interval=self._rules.heartbeat_interval,
                shared=self.replica_file,
                owner=self._denylist.owner,
                most=self._denylist.most_entries,
            )
            copy = EnvoyCopy(replica, self._rules.max_staleness)
            if watch is not None:
                watch(copy)
            replica.start()
            try:
                came = None
                while came is None and not copy.in_step:
                    came = signals.wait(_LOOK)
                if came is None:
                    on_step()
                    signals.wait()
            finally:
                replica.stop()
