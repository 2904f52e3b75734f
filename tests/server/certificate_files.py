"""Certificates for tests, in files."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from attrs import frozen

HOST = "voice.example.com"
AUTHORITY = trustme.CA()


@frozen
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


def pair_in(folder: Path, host: str = HOST, *, days: int = 60, begins_in_days: int = -30) -> Pair:
    """Write a certificate that is good from so many days from now on until so many, and its key."""
    now = datetime.now(UTC)
    issued = AUTHORITY.issue_cert(host, not_before=now + timedelta(days=begins_in_days), not_after=now + timedelta(days=days))
    pair = Pair(folder / f"{host}.pem", folder / f"{host}.key")
    pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    pair.key.write_bytes(issued.private_key_pem.bytes())
    return pair


def client_context() -> ssl.SSLContext:
    """Of a client that trusts who issued them."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context
