"""Addresses of clients, and the networks by which clients are told apart."""

from __future__ import annotations

import ipaddress

IPV4_PREFIX = 24
IPV6_PREFIX = 56
"""What one site is given at the least (RFC 6177 section 2): a single address is no one's own."""

IPV6_HOST = 64


def normalised(address: str) -> str:
    """An address in its one spelling; empty for what is none.

    IPv4 within IPv6 is the IPv4 address (RFC 4291 section 2.5.5.2), and a zone is left out, since
    neither may make two clients of one.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(found, "ipv4_mapped", None)
    return str(found if mapped is None else mapped)


def network_of(address: str) -> str:
    """The network of an address, as `192.0.2.0/24`; empty for what is no address."""
    spelled = normalised(address)
    if not spelled:
        return ""
    prefix = IPV6_PREFIX if ":" in spelled else IPV4_PREFIX
    return str(ipaddress.ip_network((spelled, prefix), strict=False))


def host_of(address: str) -> str:
    """What one host has: an IPv4 address, or the /64 of an IPv6 one (RFC 7421); empty for none."""
    spelled = normalised(address)
    if ":" not in spelled:
        return spelled
    return str(ipaddress.ip_network((spelled, IPV6_HOST), strict=False))
