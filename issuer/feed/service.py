"""Everything that the HTTP feed answers."""

from __future__ import annotations

from revocation import Denylist, Position, Probe
from revocation.http_wire import LOOKUP_TYPE, STATE_TYPE, state_claims

from .hub import FeedHub, FeedStream
from .signer import FeedSigner
from .snapshots import Download, Snapshots


class Feed:
    """One for each process; answers that say how things stand are asked of the store each time."""

    def __init__(
        self, denylist: Denylist, signer: FeedSigner, hub: FeedHub, snapshots: Snapshots
    ) -> None:
        self._denylist = denylist
        self._signer = signer
        self._hub = hub
        self._snapshots = snapshots

    def state(self, nonce: str) -> str:
        """Where the denylist stands, signed together with the caller's nonce.

        Raises `RevocationError`, `keys.KeyRingError`, as all of these do.
        """
        claims = {"nonce": nonce, **state_claims(self._denylist.state())}
        return self._signer.sign(STATE_TYPE, claims)

    def lookup(self, nonce: str, asked: str, probe: Probe, known: Position | None) -> str:
        """What refuses a token, signed together with nonce and digest of the question."""
        kind = self._denylist.lookup(probe, known)
        claims = {"nonce": nonce, "asked": asked, "kind": None if kind is None else str(kind)}
        return self._signer.sign(LOOKUP_TYPE, claims)

    def snapshot(self, *, compressed: bool) -> Download:
        """The denylist's contents; the transfer has a stream's place until it is closed."""
        place = self._hub.take_place()
        try:
            return Download(self._snapshots.get(), place, compressed=compressed)
        except BaseException:
            place.release()
            raise

    def stream(self, after: Position) -> FeedStream:
        """What comes after a position."""
        return self._hub.open(after)

    def start(self) -> None:
        """Begin to follow the denylist, in the process that serves."""
        self._hub.start()

    def end_streams(self) -> None:
        """Let go of every stream, before the process waits for what is under way."""
        self._hub.end_streams()

    def stop(self) -> None:
        self._hub.stop()
