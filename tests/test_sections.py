"""The sections [server], [model] and [twilio]: what each setting takes, and the words for what it does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from trio_voice.sections import MediaAccess, ModelSettings, ServerSettings, TwilioSettings


def test_the_defaults_reach_nobody_and_let_nobody_in() -> None:
    server = ServerSettings()
    assert (server.host, server.public_url, server.media_access) == ("127.0.0.1", None, MediaAccess.AUTO)
    assert (server.show_numbers, server.traces_url, ModelSettings().url, TwilioSettings().transfer_to) == (
        False,
        None,
        None,
        None,
    )
    assert server.calls_folder == Path("calls")


@pytest.mark.parametrize(
    ("section", "key", "value", "problem"),
    [
        (ServerSettings, "host", "", "must be"),
        (ServerSettings, "port", -1, "must be >= 0"),
        (ServerSettings, "port", 65536, "must be <= 65535"),
        (ServerSettings, "workers", 0, "must be >= 1"),
        (ServerSettings, "workers", 257, "must be <= 256"),
        (ServerSettings, "public_url", "voice.example.com", "must look like https://voice.example.com, without a path"),
        (ServerSettings, "public_url", "https://voice.example.com/path", "without a path"),
        (ServerSettings, "public_url", "https://voice.example.com?a=b", "without a path"),
        (ServerSettings, "public_url", "wss://voice.example.com", "must look like https://voice.example.com"),
        (ServerSettings, "max_calls", -1, "must be >= 0"),
        (ServerSettings, "calls_per_minute", -1, "must be >= 0"),
        (ServerSettings, "call_token_limit_s", 0.9, "must be >= 1.0"),
        (ServerSettings, "drain_limit_s", -0.1, "must be >= 0.0"),
        (ServerSettings, "traces_url", "http://127.0.0.1:4318", "must look like http://127.0.0.1:4318/v1/traces"),
        (ServerSettings, "traces_url", "127.0.0.1:4318/v1/traces", "must look like"),
        (ModelSettings, "name", "", "must be"),
        (ModelSettings, "check_every_s", 0.5, "must be >= 1.0"),
        (ModelSettings, "speed", 0.2, "must be >= 0.25"),
        (ModelSettings, "speed", 1.6, "must be <= 1.5"),
        (TwilioSettings, "account_sid", "AC123", "must be an account's SID: AC and 32 hexadecimal digits"),
        (TwilioSettings, "api_url", "https://api.twilio.com/2010", "must look like https://api.twilio.com, without a path"),
        (TwilioSettings, "sorry", "", "must be"),
        (TwilioSettings, "transfer_to", "030 123456", "must be a telephone number with its country code"),
        (TwilioSettings, "transfer_to", "+49 30 123456", "nothing but digits behind the plus"),
        (TwilioSettings, "transfer_to", "+0301234567", "must be a telephone number"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_it_must_be(
    section: type[attrs.AttrsInstance], key: str, value: Any, problem: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        section(**{key: value})


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (ServerSettings, "port", 0),
        (ServerSettings, "port", 65535),
        (ServerSettings, "public_url", "https://voice.example.com:8443/"),
        (ServerSettings, "max_calls", 0),
        (ServerSettings, "traces_url", "https://traces.example.com/v1/traces"),
        (ModelSettings, "speed", 0.25),
        (ModelSettings, "speed", 1.5),
        (TwilioSettings, "account_sid", "AC" + "0123456789abcdef" * 2),
        (TwilioSettings, "api_url", "https://api.dublin.ie1.twilio.com"),
        (TwilioSettings, "transfer_to", "+4930123456"),
    ],
)
def test_a_value_at_the_edge_is_taken(section: type[attrs.AttrsInstance], key: str, value: Any) -> None:
    assert attrs.asdict(section(**{key: value}))[key] == value


@pytest.mark.parametrize(
    ("section", "key"),
    [(ServerSettings, "call_token_limit_s"), (ServerSettings, "drain_limit_s"), (ModelSettings, "check_every_s")],
)
def test_seconds_may_be_given_as_whole_numbers(section: type[attrs.AttrsInstance], key: str) -> None:
    assert isinstance(attrs.asdict(section(**{key: 30}))[key], float)
