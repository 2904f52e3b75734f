"""The server's own certificate: what is wrong with its files is said, and a renewed one is noticed."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from tests.server.certificate_files import HOST, client_context, pair_in
from trio_voice.errors import ConfigError
from trio_voice.server.certificates import LOOK_EVERY_S, CertificateFacts, ServerCertificate, trusting

DAY_S = 86400.0
AT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
FACTS = CertificateFacts(("a.example", "b.example"), AT, AT + 90 * DAY_S)


def spoken(certificate: ServerCertificate, client: ssl.SSLContext, host: str = HOST) -> str:
    """Shake hands with it, and return whom it is for."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(down, up, server_hostname=host)
    far = certificate.context.wrap_bio(up, down, server_side=True)
    for side in (near, far, near, far):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    said = near.getpeercert()
    assert said is not None
    return str(said["subjectAltName"][0][1])


def test_a_certificate_and_its_key_are_used_and_read(tmp_path: Path) -> None:
    pair = pair_in(tmp_path, days=60)
    certificate = ServerCertificate(pair.certificate, pair.key)
    assert spoken(certificate, client_context()) == HOST
    assert certificate.facts is not None
    assert certificate.facts.names == (HOST,)
    assert certificate.problem is None
    assert str(certificate.facts).startswith(f"for {HOST}, until 20")


def test_both_may_be_in_one_file(tmp_path: Path) -> None:
    pair = pair_in(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    assert spoken(ServerCertificate(both), client_context()) == HOST


def test_who_has_the_file_trusts_the_server_by_any_name_and_no_other_server(tmp_path: Path) -> None:
    pair, other = pair_in(tmp_path), pair_in(tmp_path, "other.example")
    assert spoken(ServerCertificate(pair.certificate, pair.key), trusting(pair.certificate), "127.0.0.1") == HOST
    with pytest.raises(ssl.SSLCertVerificationError):
        spoken(ServerCertificate(other.certificate, other.key), trusting(pair.certificate))


# --- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "problem"),
    [
        (-1, "the certificate of a.example, b.example is not good before 2026-01-01; is this machine's clock right?"),
        (0, None),
        (82.9, None),
        (83, "the certificate of a.example, b.example expires on 2026-04-01; renew it"),
        (90, "the certificate of a.example, b.example expired on 2026-04-01: carriers and browsers refuse it; renew it"),
    ],
)
def test_a_certificate_has_its_time(days: float, problem: str | None) -> None:
    assert FACTS.problem(AT + days * DAY_S) == problem


NAMED = CertificateFacts(("voice.example.com", "*.calls.example.com", "192.0.2.7", "2001:db8::7"), AT, AT + 90 * DAY_S)


@pytest.mark.parametrize(
    "host",
    ["voice.example.com", "Voice.Example.COM", "a.calls.example.com", "192.0.2.7", "2001:db8::7", "2001:0db8:0::7"],
)
def test_a_certificate_is_for_its_names(host: str) -> None:
    assert NAMED.problem(AT, host) is None


@pytest.mark.parametrize(
    "host", ["example.com", "other.example.com", "calls.example.com", "a.b.calls.example.com", "192.0.2.8", "x192.0.2.7"]
)
def test_a_certificate_for_other_names_than_the_servers_is_a_problem(host: str) -> None:
    assert NAMED.problem(AT, host) == (
        f"the certificate is for voice.example.com, *.calls.example.com, 192.0.2.7, 2001:db8::7, and not for {host} "
        "(server.public_url): carriers and browsers refuse it, unless a proxy with another one is in front of the server"
    )


@pytest.mark.parametrize("host", [None, "voice.example.com"])
def test_a_certificate_without_names_is_a_problem_from_its_first_day(host: str | None) -> None:
    assert CertificateFacts((), AT, AT + 90 * DAY_S).problem(AT, host) == (
        "the certificate is for no host (it has no subjectAltName): carriers and browsers refuse it; have it made with one"
    )


def test_a_host_in_other_letters_is_compared_as_certificates_have_it() -> None:
    assert CertificateFacts(("xn--bcher-kva.example",), AT, AT + 90 * DAY_S).problem(AT, "bücher.example") is None


def test_an_expired_certificate_is_a_problem_and_no_error(tmp_path: Path) -> None:
    pair = pair_in(tmp_path, days=-2)
    problem = ServerCertificate(pair.certificate, pair.key).problem
    assert problem is not None
    assert problem.startswith(f"the certificate of {HOST} expired on 20")


def error(certificate: Path, key: Path | None = None) -> str:
    with pytest.raises(ConfigError) as raised:
        ServerCertificate(certificate, key)
    return str(raised.value)


def test_files_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    pair, other = pair_in(tmp_path), pair_in(tmp_path, "other.example")
    gone, empty = tmp_path / "gone", tmp_path / "empty"
    empty.write_bytes(b"")
    read = "the file cannot be read (No such file or directory)"
    assert error(gone) == f"server.tls_certificate_file {gone}: {read}"
    assert error(pair.certificate, gone) == f"server.tls_key_file {gone}: {read}"
    assert error(empty, pair.key) == f"server.tls_certificate_file {empty}: no certificate is in it (PEM: BEGIN CERTIFICATE)"
    assert error(pair.certificate, empty) == f"server.tls_key_file {empty}: no private key is in it (PEM: BEGIN PRIVATE KEY)"
    hint = "; if it is in a file of its own, name that with server.tls_key_file"
    assert error(pair.certificate).endswith(f"no private key is in it (PEM: BEGIN PRIVATE KEY){hint}")
    assert error(pair.certificate, other.key) == (
        f"server.tls_key_file {other.key}: this is not the key of the certificate in {pair.certificate}"
    )


def test_a_key_with_a_passphrase_is_not_asked_for_at_a_terminal(tmp_path: Path) -> None:
    pair = pair_in(tmp_path)
    pair.key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "ascii")
    assert f"take it off with: openssl pkey -in {pair.key}" in error(pair.certificate, pair.key)


def test_what_is_no_certificate_but_looks_like_one_says_so(tmp_path: Path) -> None:
    pair = pair_in(tmp_path)
    pair.certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ascii")
    assert f"the certificate in {pair.certificate} and the key in {pair.key} cannot be used" in error(pair.certificate, pair.key)


class Vanishing(type(Path())):  # type: ignore[misc]  # - the class of a path is that of the system
    """A file that a renewal takes away between one look at it and the next."""

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        text: str = super().read_text(encoding, errors)
        self.unlink()
        return text


def test_a_file_that_goes_while_it_is_read_is_one_that_cannot_be_used_and_ends_no_server(tmp_path: Path) -> None:
    pair = pair_in(tmp_path)
    reason = "cannot be used (No such file or directory)"
    assert error(Vanishing(pair.certificate), pair.key).endswith(reason)
    pair = pair_in(tmp_path)
    assert error(pair.certificate, Vanishing(pair.key)).endswith(reason)


# --- renewal -----------------------------------------------------------------------------------------------------------


async def test_a_renewed_certificate_is_used_and_half_of_one_is_not(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    pair, renewed = pair_in(tmp_path), pair_in(tmp_path, "renewed.example")
    certificate = ServerCertificate(pair.certificate, pair.key)
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(certificate.watch)
            await trio.sleep(LOOK_EVERY_S + 1)
            pair.certificate.write_bytes(renewed.certificate.read_bytes())
            await trio.sleep(2 * LOOK_EVERY_S)
            assert [line["event"] for line in logs] == [
                "the renewed certificate cannot be used; the one before stays in use"  # and that is said once
            ]
            assert "is not the key of the certificate" in logs[0]["reason"]
            assert spoken(certificate, client_context()) == HOST
            pair.key.write_bytes(renewed.key.read_bytes())
            await trio.sleep(LOOK_EVERY_S)
            assert spoken(certificate, client_context(), "renewed.example") == "renewed.example"
            nursery.cancel_scope.cancel()
    assert [line["event"] for line in logs[1:]] == ["a renewed certificate is in use"]


async def test_files_that_are_away_for_a_moment_leave_the_certificate_in_use(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    pair = pair_in(tmp_path)
    certificate = ServerCertificate(pair.certificate, pair.key)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(certificate.watch)
        moved = pair.key.rename(tmp_path / "away")
        await trio.sleep(LOOK_EVERY_S + 1)
        assert spoken(certificate, client_context()) == HOST
        moved.rename(pair.key)
        await trio.sleep(LOOK_EVERY_S)
        assert spoken(certificate, client_context()) == HOST
        nursery.cancel_scope.cancel()
