"""Twilio's signature, by its published vectors."""

from __future__ import annotations

import pytest

from trio_voice.server.twilio_signature import is_signed, twilio_signature

AUTH_TOKEN = "12345"


def form(number: str) -> list[tuple[str, str]]:
    return [
        ("CallSid", "CA1234567890ABCDE"),
        ("Digits", "1234"),
        ("To", "+18005551212"),
        ("Caller", number),
        ("From", number),
    ]


VECTORS = [
    ("https://example.com/myapp.php?foo=1&bar=2", form("+14158675310"), "L/OH5YylLD5NRKLltdqwSvS0BnU="),
    ("https://mycompany.com/myapp.php?foo=1&bar=2", form("+12349013030"), "0/KCTR6DLpKmkAf8muzZqo1nDgQ="),
    ("https://mycompany.com/myapp.php?foo=1&bar=2", form("+14158675309"), "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    ("https://mycompany.com:443/myapp.php?foo=1&bar=2", form("+14158675309"), "kvajT1Ptam85bY51eRf/AJRuM3w="),
    ("http://mycompany.com/myapp.php?foo=1&bar=2", form("+14158675309"), "OyGYPqTF6ztdbRNCvuQO/oPvqQ4="),
    ("http://mycompany.com:80/myapp.php?foo=1&bar=2", form("+14158675309"), "0ZXoZLH/DfblKGATFgpif+LLRf4="),
    ("http://mycompany.com:1234/myapp.php?foo=1&bar=2", form("+14158675309"), "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
    (
        "https://mycompany.com/myapp.php?foo=1&bar=2",
        [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")],
        "IK+Dwps556ElfBT0I3Rgjkr1wJU=",
    ),
    (
        "https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620",
        [],
        "a9nBmqA0ju/hNViExpshrM61xv4=",
    ),
    ("wss://example.com/media/abc", [], "pLFqhFuBwdcO0x1rgZAXZHSigWQ="),
]


@pytest.mark.parametrize(("url", "pairs", "signature"), VECTORS)
def test_r40_the_published_vectors(url: str, pairs: list[tuple[str, str]], signature: str) -> None:
    assert twilio_signature(AUTH_TOKEN, url, reversed(pairs)) == signature
    assert is_signed(signature, [AUTH_TOKEN], url, pairs)


@pytest.mark.parametrize(
    ("signed", "asked"),
    [
        ("https://a.example/x", "https://a.example:443/x"),
        ("https://a.example:443/x?y=1", "https://a.example/x?y=1"),
        ("wss://a.example:443/x", "wss://a.example/x"),
        ("http://a.example/x", "http://a.example:80/x"),
        ("https://[::1]/x", "https://[::1]:443/x"),
    ],
)
def test_the_schemes_own_port_may_be_signed_or_not(signed: str, asked: str) -> None:
    assert is_signed(twilio_signature(AUTH_TOKEN, signed), [AUTH_TOKEN], asked)


def test_either_of_two_tokens_signs_while_one_replaces_the_other() -> None:
    signature = twilio_signature("new", "https://a.example/")
    assert is_signed(signature, ["old", "new"], "https://a.example/")
    assert not is_signed(signature, ["old"], "https://a.example/")
    assert not is_signed(signature, [], "https://a.example/")


@pytest.mark.parametrize(
    ("url", "pairs"),
    [
        ("https://a.example/y", [("A", "1")]),
        ("https://a.example/x/", [("A", "1")]),
        ("https://b.example/x", [("A", "1")]),
        ("http://a.example/x", [("A", "1")]),
        ("https://a.example:8443/x", [("A", "1")]),
        ("https://a.example/x", [("A", "2")]),
        ("https://a.example/x", [("A", "1"), ("B", "")]),
        ("https://a.example/x", []),
    ],
)
def test_r40_whatever_is_changed_is_noticed(url: str, pairs: list[tuple[str, str]]) -> None:
    signature = twilio_signature(AUTH_TOKEN, "https://a.example/x", [("A", "1")])
    assert is_signed(signature, [AUTH_TOKEN], "https://a.example/x", [("A", "1")])
    assert not is_signed(signature, [AUTH_TOKEN], url, pairs)


@pytest.mark.parametrize("signature", ["", "a", "é", "\ud800", "=" * 10_000])
def test_r40_a_signature_may_be_anything(signature: str) -> None:
    assert not is_signed(signature, [AUTH_TOKEN], "https://a.example/", [("A", "\ud800")])
