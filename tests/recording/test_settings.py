"""Where a call's recording is, and which files are recordings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from trio_voice.recording.settings import RecordingSettings, announced, bucket_and_prefix

ID = "20261121-093012-0a1b2c3d"
STARTED_AT = datetime(2026, 11, 21, 9, 30, 12, tzinfo=UTC)


def path_of(template: str, call_sid: str = "CA1") -> str:
    settings = RecordingSettings(path=template)
    return str(settings.path_of(call_id=ID, call_sid=call_sid, dialect="twilio", started_at=STARTED_AT))


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{call_id}/recording.wav", "20261121-093012-0a1b2c3d/recording.wav"),
        (
            "{year}/{month}/{day}/{hour}/{dialect}-{call_sid}-{call_id}.wav",
            "2026/11/21/09/twilio-CA1-20261121-093012-0a1b2c3d.wav",
        ),
        ("a.b/{call_id}{call_id}.wav", "a.b/20261121-093012-0a1b2c3d20261121-093012-0a1b2c3d.wav"),
    ],
)
def test_a_path_is_filled_in_and_recognised_again(template: str, path: str) -> None:
    assert path_of(template) == path
    assert RecordingSettings(path=template).pattern().fullmatch(path)


@pytest.mark.parametrize(
    "other", ["20261121-093012-0a1b2c3d/call.wav", "mine/recording.wav", "20261121-093012-0a1b2c3d/recording_wav"]
)
def test_other_files_are_no_recordings(other: str) -> None:
    assert not RecordingSettings().pattern().fullmatch(other)


@pytest.mark.parametrize("call_sid", ["../../etc/passwd", "/etc", "a\0b\n", "", "x" * 1000, "{call_id}"])
def test_what_a_carrier_chose_leads_nowhere_else(call_sid: str) -> None:
    template = "{call_sid}/{call_id}.wav"
    path = path_of(template, call_sid=call_sid)
    assert len(Path(path).parts) == 2
    assert len(path) < 200
    assert RecordingSettings(path=template).pattern().fullmatch(path)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("{call_id}/{caller}.wav", "must have in braces only call_id, .*, and not 'caller'"),
        ("{day}.wav", r"must have \{call_id\} in it"),
        ("{call_id}.mp3", r"must end in \.wav"),
        ("{call_id}{.wav", r"must end in \.wav and have its braces in pairs"),
        ("/var/{call_id}.wav", r"must lead into recording\.folder"),
        ("../{call_id}.wav", r"must lead into recording\.folder"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(path: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RecordingSettings(path=path)


def test_what_is_announced_comes_before_the_greeting() -> None:
    settings = RecordingSettings(enabled=True, announcement="This call is recorded.")
    assert announced("Say hello.", settings) == (
        'Begin with exactly this sentence, word for word: "This call is recorded." After it: Say hello.'
    )


@pytest.mark.parametrize("settings", [RecordingSettings(announcement="This call is recorded."), RecordingSettings(enabled=True)])
def test_nothing_is_announced_that_is_not_so(settings: RecordingSettings) -> None:
    assert announced("Say hello.", settings) == "Say hello."


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("s3://calls", ("calls", "")),
        ("s3://calls/", ("calls", "")),
        ("s3://my.calls-1/tel/north/", ("my.calls-1", "tel/north")),
    ],
)
def test_a_bucket_and_what_names_in_it_begin_with(url: str, read: tuple[str, str]) -> None:
    assert bucket_and_prefix(url) == read
    assert RecordingSettings(s3_url=url).s3_url == url


@pytest.mark.parametrize(
    "url", ["", "calls", "https://calls", "s3://", "s3://Calls", "s3://a:b@calls", "s3://calls?x=1", "s3://calls/a b"]
)
def test_an_address_of_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must look like s3://bucket or s3://bucket/prefix"):
        RecordingSettings(s3_url=url)


@pytest.mark.parametrize("endpoint", ["minio:9000", "ftp://minio", "https://", "https://minio/?x=1"])
def test_an_address_of_no_store_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="must be the store's address"):
        RecordingSettings(s3_endpoint=endpoint)
