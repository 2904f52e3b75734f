"""Whom the phone believes."""

from __future__ import annotations

import ssl

import pytest

from trio_voice.phone.tls import client_tls


@pytest.mark.parametrize("host", ["voice.example.com", "192.0.2.1", "localhost.example.com", "127.example.com", "2001:db8::1"])
def test_a_server_elsewhere_has_to_prove_its_name(host: str) -> None:
    context = client_tls(host)
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_one_on_this_machine_need_not(host: str) -> None:
    context = client_tls(host)
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)
