"""What can be set about recordings, and where a call's recording is."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen, validators

USUAL_PATH = "{call_id}/recording.wav"
_FIELDS = {
    "call_id": r"\d{8}-\d{6}-[0-9a-f]{8}",
    "call_sid": r"[0-9A-Za-z_-]+",
    "dialect": r"[a-z0-9_]+",
    "year": r"\d{4}",
    "month": r"\d{2}",
    "day": r"\d{2}",
    "hour": r"\d{2}",
}
"""What may stand in braces in a path, and how it looks when it is filled in."""
_FIELD = re.compile(r"\{([^{}]*)\}")
LONGEST_NAME = 64
_UNSAFE = re.compile(r"[^0-9A-Za-z_-]")


def _is_path(_settings: object, _field: object, value: str) -> None:
    names = _FIELD.findall(value)
    if unknown := [name for name in names if name not in _FIELDS]:
        raise ValueError(f"must have in braces only {', '.join(_FIELDS)}, and not {unknown[0]!r}")
    if "call_id" not in names:
        raise ValueError("must have {call_id} in it: two calls must not have the same recording")
    rest = _FIELD.sub("x", value)
    if "{" in rest or "}" in rest or not rest.endswith(".wav"):
        raise ValueError("must end in .wav and have its braces in pairs")
    if Path(rest).is_absolute() or ".." in Path(rest).parts:
        raise ValueError("must lead into recording.folder: no / in front, no ..")


_S3_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/+([^?#\s]*))?")


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """Read `s3://bucket/prefix`: the bucket's name, and the prefix without / at its ends. Raises ValueError."""
    found = _S3_URL.fullmatch(url)
    if found is None:
        raise ValueError("must look like s3://bucket or s3://bucket/prefix")
    return found[1], (found[2] or "").strip("/")


def _is_s3_url(_settings: object, _field: object, value: str) -> None:
    bucket_and_prefix(value)


def _is_endpoint(_settings: object, _field: object, value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be the store's address, like https://minio.example.com:9000")


@frozen(kw_only=True)
class RecordingSettings:
    """Section [recording]: a stereo WAV file of each call (docs/recording.md). Ask a lawyer before you switch it on."""

    enabled: bool = False
    """Record every call: the caller left, right what the caller heard of the agent."""
    folder: Path | None = None
    """Where recordings are. Left out: the calls folder."""
    path: str = field(default=USUAL_PATH, validator=_is_path)
    """A recording's path in that folder; in braces: call_id, call_sid, dialect, and year, month, day, hour of the call's begin
    (UTC)."""
    keep_days: float = field(default=0.0, validator=validators.ge(0.0), converter=float)
    """Remove recordings that are older than this; 0: never."""
    announcement: str = ""
    """What the agent says first in its greeting, for instance: This call is recorded."""
    beep: bool = False
    """Begin each call that is recorded with a short tone."""
    pictures: bool = False
    """Draw each call's timeline into its folder (timeline.png) when it is over: in a process of its own, one at a time. Needs the
    extra `pictures`."""
    s3_url: str | None = field(default=None, validator=validators.optional(_is_s3_url))
    """Where recordings are uploaded to when their calls are over: s3://bucket/prefix. Needs the extra `s3`. The credentials are
    those that boto3 finds: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, its files, the machine's role."""
    s3_endpoint: str | None = field(default=None, validator=validators.optional(_is_endpoint))
    """The store's address, where it is not Amazon's: MinIO's, Cloudflare R2's, e.g. https://minio.example.com:9000."""

    def path_of(self, *, call_id: str, call_sid: str, dialect: str, started_at: datetime) -> Path:
        """Fill in the path, relative to the folder. What a peer chose becomes letters, digits, - and _."""
        values = {
            "call_id": call_id,
            "call_sid": _UNSAFE.sub("_", call_sid)[:LONGEST_NAME] or "_",
            "dialect": _UNSAFE.sub("_", dialect) or "_",
            "year": f"{started_at:%Y}",
            "month": f"{started_at:%m}",
            "day": f"{started_at:%d}",
            "hour": f"{started_at:%H}",
        }
        return Path(_FIELD.sub(lambda found: values[found[1]], self.path))

    def pattern(self) -> re.Pattern[str]:
        """What a recording's relative path looks like, with / between its parts."""
        parts = _FIELD.split(self.path)
        return re.compile("".join(_FIELDS[part] if index % 2 else re.escape(part) for index, part in enumerate(parts)))


def announced(greeting: str, settings: RecordingSettings) -> str:
    """What the agent is told to greet with: what is announced comes first."""
    if not (settings.enabled and settings.announcement):
        return greeting
    return f'Begin with exactly this sentence, word for word: "{settings.announcement}" After it: {greeting}'
