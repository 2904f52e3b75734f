"""Our own certificate and its key, from two files: looked at before the server starts, and again and again for a renewed one.

Certificates are renewed every few weeks, by programs that write the files anew. The server notices, and uses the new certificate
for the connections that come; those that are go on. A pair that cannot be used (half of it is written, perhaps) is told once, and
the one before stays.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import structlog
import trio
from attrs import define, field, frozen

from trio_voice.errors import ConfigError

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 10.0
DAYS_BEFORE = 7
"""So many days before a certificate expires its owner is told: renewal has been due for weeks."""
_DAY_S = 86400.0
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the ssl module has no name for."""


@frozen
class CertificateFacts:
    """What a certificate says."""

    names: tuple[str, ...]
    """Whom it is for."""
    not_before: float
    """Seconds since 1970, as the next."""
    not_after: float

    def problem(self, now: float, host: str | None = None) -> str | None:
        """What its owner should know; None: it is good, and will be for a while. `host`: by what name the server is reached."""
        if now >= self.not_after:
            return f"the certificate of {self.owner} expired on {_day(self.not_after)}: carriers and browsers refuse it; renew it"
        if now < self.not_before:
            return f"the certificate of {self.owner} is not good before {_day(self.not_before)}; is this machine's clock right?"
        if not self.names:
            return f"the certificate is for {self.owner}: carriers and browsers refuse it; have it made with one"
        if host is not None and not self.is_for(host):
            return (
                f"the certificate is for {self.owner}, and not for {host} (server.public_url): carriers and browsers refuse it, "
                "unless a proxy with another one is in front of the server"
            )
        if now >= self.not_after - DAYS_BEFORE * _DAY_S:
            return f"the certificate of {self.owner} expires on {_day(self.not_after)}; renew it"
        return None

    def is_for(self, host: str) -> bool:
        """Whether a client that wants to reach `host` takes it (RFC 9525: no other name counts, `*` stands for one label)."""
        with suppress(ValueError):
            address = ip_address(host)
            return any(_is_address(name, address) for name in self.names)
        with suppress(UnicodeError):
            host = host.encode("idna").decode()
        wanted = host.lower().rstrip(".")
        return any(name.lower() in (wanted, f"*.{wanted.partition('.')[2]}") for name in self.names)

    @property
    def owner(self) -> str:
        """Whom it is for, in words."""
        return ", ".join(self.names) or "no host (it has no subjectAltName)"

    def __str__(self) -> str:
        """Whom it is for, and how long."""
        return f"for {self.owner}, until {_day(self.not_after)}"


def _is_address(name: str, address: IPv4Address | IPv6Address) -> bool:
    with suppress(ValueError):
        return ip_address(name) == address
    return False


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


@define(eq=False)
class ServerCertificate:
    """The certificate in force. Made, it raises ConfigError when the files cannot be used."""

    certificate_file: Path
    key_file: Path | None = None
    """None: the key is in the certificate's file."""
    host: str | None = None
    """By what name the world reaches the server; None: that is not known."""
    now: Callable[[], float] = time.time
    """The time of day, in seconds since 1970."""
    context: ssl.SSLContext = field(init=False)
    """For the next connection."""
    facts: CertificateFacts | None = field(init=False)
    """None: it has something in it that keeps even us from trusting it, but it may still be used."""
    _seen: tuple[object, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._seen = self._look()
        self._load()

    @property
    def problem(self) -> str | None:
        """What is wrong with the certificate, or will be soon; None: nothing."""
        return None if self.facts is None else self.facts.problem(self.now(), self.host)

    async def watch(self) -> None:
        """Look again and again for a renewed certificate, and use it; runs until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            seen = self._look()
            if seen == self._seen:
                continue
            self._seen = seen
            try:
                self._load()
            except ConfigError as error:
                log.warning("the renewed certificate cannot be used; the one before stays in use", reason=str(error))
            else:
                log.info("a renewed certificate is in use", certificate=str(self.facts or "of an unknown owner"))
                if self.problem is not None:
                    log.warning("the renewed certificate has a flaw", reason=self.problem)

    def _look(self) -> tuple[object, ...]:
        """What of the files changes when they do."""
        seen: list[object] = []
        for file in (self.certificate_file, self.key_file):
            with suppress(OSError):
                status = None if file is None else file.stat()
                seen.append(status and (status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(seen)

    def _load(self) -> None:
        certificate, key = self.certificate_file, self.key_file or self.certificate_file
        key_setting = "server.tls_key_file" if self.key_file else "server.tls_certificate_file"
        if "-----BEGIN CERTIFICATE-----" not in _read(certificate, "server.tls_certificate_file"):
            raise ConfigError(f"server.tls_certificate_file {certificate}: no certificate is in it (PEM: BEGIN CERTIFICATE)")
        text = _read(key, key_setting)
        if "PRIVATE KEY-----" not in text:
            hint = "" if self.key_file else "; if it is in a file of its own, name that with server.tls_key_file"
            raise ConfigError(f"{key_setting} {key}: no private key is in it (PEM: BEGIN PRIVATE KEY){hint}")
        if "ENCRYPTED" in text:
            raise ConfigError(f"{key_setting} {key}: the key has a passphrase; take it off with: openssl pkey -in {key} -out NEW")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(certificate, key)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(f"{key_setting} {key}: this is not the key of the certificate in {certificate}") from None
            raise _unusable(certificate, key, error.reason or str(error)) from None
        except OSError as error:  # a renewal took one of them away since it was read
            raise _unusable(certificate, key, error.strerror or str(error)) from None
        self.context, self.facts = context, _facts(context, certificate)


def _read(file: Path, setting: str) -> str:
    try:
        return file.read_text("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"{setting} {file}: the file cannot be read ({error.strerror or error})") from None


def _unusable(certificate: Path, key: Path, reason: str) -> ConfigError:
    return ConfigError(f"the certificate in {certificate} and the key in {key} cannot be used ({reason})")


def trusting(certificate: Path) -> ssl.SSLContext:
    """Make what a client needs that trusts the certificate in a file and nothing else, whatever the name it is reached by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    context.load_verify_locations(certificate)
    return context


def _facts(context: ssl.SSLContext, certificate: Path) -> CertificateFacts | None:
    """Read a certificate as a client does: in a handshake, within this process. The ssl module reads no other way."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client = trusting(certificate).wrap_bio(down, up)
        server = context.wrap_bio(up, down, server_side=True)
        for side in (client, server, client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
        said = client.getpeercert() or {}
    except (OSError, ValueError):  # ssl.SSLError is an OSError; so is a file that has gone since
        return None
    names = tuple(str(name[1]) for name in said.get("subjectAltName", ()))
    return CertificateFacts(
        names, ssl.cert_time_to_seconds(str(said["notBefore"])), ssl.cert_time_to_seconds(str(said["notAfter"]))
    )
