"""Places by a city database in MaxMind's format (GeoLite2-City, DB-IP City Lite)."""

from __future__ import annotations

import math
from pathlib import Path

import maxminddb

from .places import Place, host_in

EARTH = 6371.0
"""Kilometres."""
NEAR = 300.0
"""Kilometres by which such databases are often wrong, or a network's exit is off."""


class CityDatabase:
    """Implements `Places`: a place is a latitude and a longitude, to a tenth of a degree."""

    def __init__(self, path: Path, *, speed: int) -> None:
        """`speed` in kilometres an hour. Raises `ValueError` for what is no such database."""
        self._speed = speed
        try:
            self._reader = maxminddb.open_database(path, maxminddb.MODE_AUTO)
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            raise ValueError(
                f"{path}: is no database in MaxMind's format: {type(error).__name__}"
            ) from None

    def locate(self, address: str) -> Place | None:
        spelled = host_in(address)
        if not spelled:
            return None
        try:
            found = self._reader.get(spelled)
        except (ValueError, maxminddb.InvalidDatabaseError):
            return None  # an IPv6 address in a database of IPv4 alone, or a damaged one
        location = found.get("location") if isinstance(found, dict) else None
        if not isinstance(location, dict):
            return None
        latitude, longitude = location.get("latitude"), location.get("longitude")
        if not isinstance(latitude, float) or not isinstance(longitude, float):
            return None
        return [round(latitude, 1), round(longitude, 1)]

    def near(self, one: Place, other: Place) -> bool:
        return _kilometres(one, other) < NEAR

    def apart(self, one: Place, other: Place, seconds: float) -> bool:
        distance = _kilometres(one, other)
        return distance >= NEAR and distance * 3600 > self._speed * max(seconds, 1.0)

    def describe(self, place: Place) -> str:
        return f"{place[0]:.1f},{place[1]:.1f}"

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()


def _kilometres(one: Place, other: Place) -> float:
    """Along a great circle (haversine)."""
    if not _is_point(one) or not _is_point(other):
        return 0.0  # kept by the registries, before there was a database
    south, west = (math.radians(each) for each in one)
    north, east = (math.radians(each) for each in other)
    half = (
        math.sin((north - south) / 2) ** 2
        + math.cos(south) * math.cos(north) * math.sin((east - west) / 2) ** 2
    )
    return 2 * EARTH * math.asin(math.sqrt(min(half, 1.0)))


def _is_point(place: Place) -> bool:
    return isinstance(place, list)
