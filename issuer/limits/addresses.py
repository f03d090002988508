"""Where a request comes from, as limits see it."""

from __future__ import annotations

import ipaddress

_HOST_BITS_V6 = 64
_NETWORK_V4 = 24
_NETWORK_V6 = 56


def address_of(text: str) -> str | None:
    """The client's address; of IPv6 its /64, which is what one host gets (RFC 6177, RFC 7421).

    None for what is no IP address, such as the peer of a unix socket.
    """
    return _cut(text, 32, _HOST_BITS_V6)


def network_of(text: str) -> str | None:
    """The client's network: the /24 of IPv4, the /56 of IPv6, about what one line gets (RFC 6177).

    None for what is no IP address.
    """
    return _cut(text, _NETWORK_V4, _NETWORK_V6)


def _cut(text: str, bits_v4: int, bits_v6: int) -> str | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    bits = bits_v4 if address.version == 4 else bits_v6
    return str(ipaddress.ip_network((address, bits), strict=False))
