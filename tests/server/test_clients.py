"""Who asks."""

from __future__ import annotations

import pytest

from trio_voice.server.clients import client_address, host_of, is_local, is_loopback, is_of_same_origin


@pytest.mark.parametrize(
    ("remote", "host"),
    [("192.0.2.1:80", "192.0.2.1"), ("[2001:db8::1]:80", "2001:db8::1"), ("unknown", "unknown"), ("", ""), ("a:b", "a:b")],
)
def test_the_host_of_a_name(remote: str, host: str) -> None:
    assert host_of(remote) == host


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("a.localhost", True),
        ("192.0.2.1", False), ("0.0.0.0", False), ("localhost.evil.example", False), ("unknown", False), ("", False),
    ],
)  # fmt: skip
def test_loopback(host: str, is_ours: bool) -> None:
    assert is_loopback(host) is is_ours


@pytest.mark.parametrize(
    ("remote", "headers", "address"),
    [
        ("192.0.2.1:5", {}, "192.0.2.1"),
        ("192.0.2.1:5", {"x-forwarded-for": "198.51.100.7"}, "192.0.2.1"),
        ("127.0.0.1:5", {"x-forwarded-for": "198.51.100.7"}, "198.51.100.7"),
        ("[::1]:5", {"x-forwarded-for": "203.0.113.1, 198.51.100.7"}, "198.51.100.7"),
        ("127.0.0.1:5", {"x-forwarded-for": ""}, "127.0.0.1"),
    ],
)
def test_r40_only_a_proxy_on_this_machine_is_believed(remote: str, headers: dict[str, str], address: str) -> None:
    assert client_address(remote, headers) == address


@pytest.mark.parametrize(
    ("remote", "headers", "local"),
    [
        ("127.0.0.1:5", {"host": "127.0.0.1:8080"}, True),
        ("127.0.0.1:5", {"host": "localhost"}, True),
        ("[::1]:5", {"host": "[::1]:8080"}, True),
        ("192.0.2.1:5", {"host": "127.0.0.1:8080"}, False),
        ("127.0.0.1:5", {"host": "abc.ngrok.example"}, False),
        ("127.0.0.1:5", {"host": "127.0.0.1", "x-forwarded-for": "198.51.100.7"}, False),
        ("127.0.0.1:5", {"host": "127.0.0.1", "forwarded": "for=198.51.100.7"}, False),
        ("127.0.0.1:5", {}, False),
        ("127.0.0.1:5", {"host": "LocalHost:"}, True),
        ("127.0.0.1:5", {"host": "user@127.0.0.1"}, False),
        ("127.0.0.1:5", {"host": "127.0.0.1/evil.example"}, False),
        ("127.0.0.1:5", {"host": "127.0.0.1, evil.example"}, False),
        ("127.0.0.1:5", {"host": "["}, False),
        ("127.0.0.1:5", {"host": "a]"}, False),
        ("unknown", {"host": "localhost"}, False),
    ],
)
def test_r40_a_tunnel_is_not_this_machine(remote: str, headers: dict[str, str], local: bool) -> None:
    assert is_local(remote, headers) is local


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"host": "a:8080"}, True),
        ({"host": "a:8080", "origin": "http://a:8080"}, True),
        ({"host": "a:8080", "origin": "http://a"}, False),
        ({"host": "a:8080", "origin": "https://evil.example"}, False),
        ({"host": "a:8080", "origin": "null"}, False),
        ({"host": "a:8080", "origin": "http://["}, False),
        ({"host": "", "origin": "null"}, False),
        ({"origin": "http://["}, False),
    ],
)
def test_r40_a_browser_comes_from_our_own_page(headers: dict[str, str], same: bool) -> None:
    assert is_of_same_origin(headers) is same
