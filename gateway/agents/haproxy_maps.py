"""How the copy of the denylist is spelled in HAProxy's maps, and read back from them."""

from __future__ import annotations

from dataclasses import dataclass

from revocation import Record
from tokens import TokenError, base64url

from .haproxy_runtime import HaproxyUnavailable

PROTOCOL = 2
"""Between this and lua/haproxy.lua."""
NOT_SAVED = "-"
"""What a state says that the running agent has put, after all that it speaks of."""


class HaproxyUnusable(HaproxyUnavailable):
    """It answers, and has to be started anew before it can be kept in step."""


@dataclass(frozen=True, slots=True)
class State:
    """What HAProxy is told of the copy."""

    fresh_at: float | None
    dropped: int
    watermark: int
    salts: tuple[bytes, ...]
    saving: str = NOT_SAVED
    """With what it was loaded from files, and in which boot they were written: it holds for those
    alone, and its moment in that boot."""

    def spelled(self) -> str:
        fresh_at = "-" if self.fresh_at is None else f"{self.fresh_at:.3f}"
        salts = ",".join(salt.hex() for salt in self.salts)
        return f"{PROTOCOL}/{fresh_at}/{self.dropped}/{self.watermark}/{salts}/{self.saving}"

    @classmethod
    def read(cls, text: str) -> State:
        """Raises `ValueError`."""
        form, fresh_at, dropped, watermark, salts, saving = text.split("/")
        if int(form) != PROTOCOL:
            raise ValueError("a state of another version")
        return cls(
            None if fresh_at == "-" else float(fresh_at),
            int(dropped),
            int(watermark),
            tuple(bytes.fromhex(salt) for salt in salts.split(",")),
            saving,
        )


def entry_of(key: bytes, level: int, expires: int) -> str:
    """An entry of a map, as `record_of` reads it."""
    return f"{name_of(key)} {level}/{expires}"


def name_of(key: bytes) -> str:
    return f"{chr(key[0])}{base64url.encode(key[1:])}"


def record_of(name: str, value: str) -> Record:
    """The record of an entry of a map. Raises `HaproxyUnusable`."""
    try:
        level, expires = value.split("/")
        key = name[:1].encode("ascii") + base64url.decode(name[1:].encode("ascii"))
        record = Record(key, int(level), int(expires))
    except (ValueError, TokenError):
        record = None
    if record is None or len(record.key) != 17:
        raise HaproxyUnusable("its map holds what nobody here wrote")
    return record
