"""TLS on the phone's side. A server elsewhere has to prove its name; one on this machine has a certificate for another."""

from __future__ import annotations

import ssl
from ipaddress import ip_address


def client_tls(host: str) -> ssl.SSLContext:
    """Make what a connection to `host` needs. On the loopback nobody stands between, and no certificate names it."""
    context = ssl.create_default_context()
    if _is_loopback(host):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
