"""Who asks: the address behind a proxy or a tunnel, and whether a request was made on this machine for this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "cf-connecting-ip", "via")
"""Headers that proxies and tunnels add: whoever sends one is not here."""
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._-]+))(?::[0-9]*)?")
"""A `Host` (RFC 9110, section 7.2): no user, no path."""


def host_of(remote: str) -> str:
    """The address in `1.2.3.4:5` or `[::1]:5`."""
    host, _, port = remote.rpartition(":")
    return host.strip("[]") if host and port.isdigit() else remote


def is_loopback(host: str) -> bool:
    """An address or a name of this machine that others do not reach."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def client_address(remote: str, headers: Mapping[str, str]) -> str:
    """The address to count a client by.

    A peer on this machine is a proxy or a tunnel if it says for whom it asks; the last address that it names is the one that it
    saw itself. Others are believed in nothing.
    """
    peer = host_of(remote)
    named = headers.get("x-forwarded-for", "")
    return named.rpartition(",")[2].strip() or peer if is_loopback(peer) else peer


def is_local(remote: str, headers: Mapping[str, str]) -> bool:
    """Tell whether the client is on this machine and meant it.

    A tunnel's requests come from this machine too, but with another host's name or a proxy's headers; so do those of a web page
    whose own name points here.
    """
    if not is_loopback(host_of(remote)) or any(name in headers for name in FORWARDED):
        return False
    named = _HOST.fullmatch(headers.get("host", ""))
    return named is not None and is_loopback((named[1] or named[2]).lower())


def is_of_same_origin(headers: Mapping[str, str]) -> bool:
    """Tell whether no browser is at work, or one that shows a page of this server. Carriers send no Origin."""
    origin = headers.get("origin")
    return origin is None or is_our_origin(origin, headers)


def is_our_origin(origin: str, headers: Mapping[str, str]) -> bool:
    """Tell whether an `Origin` is the host that was asked; one that cannot be read is not."""
    try:
        host = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(host) and host == headers.get("host")
