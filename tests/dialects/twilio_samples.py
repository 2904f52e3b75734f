"""The messages of a Twilio stream, as its documentation shows them, and helpers to vary them."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

from trio_voice.dialects.base import StreamEvent
from trio_voice.dialects.twilio import TwilioDialect

SID = "MZ0123456789abcdef0123456789abcdef"
OTHER_SID = "MZfedcba9876543210fedcba9876543210"
VOICE = bytes(range(160))

CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
START = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": SID,
    "start": {
        "accountSid": "AC11",
        "streamSid": SID,
        "callSid": "CA22",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"tenant": "acme", "From": "+15551230001", "to": "+15551230002"},
    },
}
MEDIA = {
    "event": "media",
    "sequenceNumber": "4",
    "streamSid": SID,
    "media": {"track": "inbound", "chunk": "2", "timestamp": "20", "payload": base64.b64encode(VOICE).decode()},
}
DTMF = {"event": "dtmf", "streamSid": SID, "sequenceNumber": "5", "dtmf": {"track": "inbound_track", "digit": "1"}}
MARK = {"event": "mark", "sequenceNumber": "4", "streamSid": SID, "mark": {"name": "1:12"}}
STOP = {"event": "stop", "sequenceNumber": "5", "streamSid": SID, "stop": {"accountSid": "AC11", "callSid": "CA22"}}
SAMPLES = [CONNECTED, START, MEDIA, DTMF, MARK, STOP]


def feed(dialect: TwilioDialect, *messages: dict[str, Any]) -> list[StreamEvent]:
    return [event for message in messages for event in dialect.decode(json.dumps(message))]


def started() -> TwilioDialect:
    dialect = TwilioDialect()
    feed(dialect, CONNECTED, START)
    return dialect


def changed(message: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of `message` with the field at a dotted path replaced, or removed (value `...`)."""
    copied = copy.deepcopy(message)
    *parents, last = path.split(".")
    inner: Any = copied
    for name in parents:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return copied
