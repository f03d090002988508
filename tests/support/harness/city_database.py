"""Writes a small city database: the MaxMind DB file format, version 2.0, by its specification."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MARKER = b"\xab\xcd\xefMaxMind.com"
_DATA_SEPARATOR = 16


def write_city_database(path: Path, cities: Mapping[str, tuple[float, float]]) -> Path:
    """Latitude and longitude of networks, IPv4 (at ::/96) and IPv6."""
    nodes: list[list[int | bytes | None]] = [[None, None]]
    for network, (latitude, longitude) in cities.items():
        _insert(nodes, network, _encoded({"location": _point(latitude, longitude)}))
    data, offsets = b"", {}
    for leaf in (side for node in nodes for side in node if isinstance(side, bytes)):
        if leaf not in offsets:
            offsets[leaf] = len(data)
            data += leaf
    tree = b"".join(
        struct.pack(">I", _record(side, len(nodes), offsets)) for node in nodes for side in node
    )
    metadata = _encoded(
        {
            "binary_format_major_version": 2,
            "binary_format_minor_version": 0,
            # Of 64 bits, and below of 32: the reader in C is particular.
            "build_epoch": bytes([8, 9 - 7]) + struct.pack(">Q", 1_800_000_000),
            "database_type": "GeoLite2-City",
            "description": {"en": "A test's"},
            "ip_version": 6,
            "languages": ["en"],
            "node_count": bytes([6 << 5 | 4]) + struct.pack(">I", len(nodes)),
            "record_size": 32,
        }
    )
    path.write_bytes(tree + bytes(_DATA_SEPARATOR) + data + _MARKER + metadata)
    return path


def _point(latitude: float, longitude: float) -> dict[str, float]:
    return {"latitude": latitude, "longitude": longitude}


def _insert(nodes: list[list[int | bytes | None]], network: str, leaf: bytes) -> None:
    parsed = ipaddress.ip_network(network)
    shift = 96 if parsed.version == 4 else 0
    bits = f"{int(parsed.network_address):0128b}"[: shift + parsed.prefixlen]
    node = 0
    for bit in bits[:-1]:
        following = nodes[node][int(bit)]
        if not isinstance(following, int):
            nodes.append([None, None])
            following = nodes[node][int(bit)] = len(nodes) - 1
        node = following
    nodes[node][int(bits[-1])] = leaf


def _record(side: int | bytes | None, nodes: int, offsets: Mapping[bytes, int]) -> int:
    if side is None:
        return nodes
    return side if isinstance(side, int) else nodes + _DATA_SEPARATOR + offsets[side]


def _encoded(value: Any) -> bytes:
    match value:
        case dict():
            inside = b"".join(_encoded(key) + _encoded(item) for key, item in value.items())
            return bytes([7 << 5 | len(value)]) + inside
        case list():
            return bytes([len(value), 11 - 7]) + b"".join(map(_encoded, value))
        case str():
            assert len(value) < 29
            return bytes([2 << 5 | len(value)]) + value.encode()
        case float():
            return bytes([3 << 5 | 8]) + struct.pack(">d", value)
        case bytes():
            return value
        case int():
            return bytes([5 << 5 | 2]) + struct.pack(">H", value)
    raise TypeError(type(value))
