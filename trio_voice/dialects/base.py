"""What every telephone media-stream dialect offers: a pure codec, and a declaration of what its carrier can do.

A dialect turns a carrier's messages into stream events and commands of the core into the carrier's messages. It does no I/O and
reads no clock; one instance holds the small state of one stream (its ids, what has been seen).

A carrier is never trusted and never raised at: what it sends becomes an event of its own. What can be ignored is an `Oddity`,
which the caller counts and logs; what makes the stream useless is a `StreamFault`, after which the stream must be closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

import msgspec
from attrs import frozen

from trio_voice.core.commands import Command

# --- what a carrier can do ---------------------------------------------------------------------------------------------


class Encoding(Enum):
    """How a carrier encodes audio on the wire."""

    PCMU = "pcmu"
    PCMA = "pcma"
    PCM16_LITTLE_ENDIAN = "pcm16_little_endian"


class ClearSource(Enum):
    """Who can drop audio that was sent and not yet heard."""

    NATIVE = "native"
    """The carrier, on a message of ours."""
    OWN_QUEUE = "own_queue"
    """Only we: what the carrier has is played, so it must be given little."""


class MarkSource(Enum):
    """How we learn what the caller has heard."""

    NATIVE = "native"
    """The carrier echoes a named mark when the audio before it is over."""
    CLOCK = "clock"
    """It does not: what was sent is taken as heard in real time."""


class MarksAfterClear(Enum):
    """What becomes of the marks that are pending when playback is cleared."""

    ECHOED = "echoed"
    """They come back at once, and look like those that were played."""
    DROPPED = "dropped"
    """They never come back."""
    LABELLED = "labelled"
    """They come back and say that they were cleared."""


@frozen(kw_only=True)
class Capabilities:
    """What a carrier's stream can do, for the code that plays, clears and hangs up."""

    encodings: tuple[Encoding, ...]
    """What the wire carries, the preferred one first."""
    sample_rate_hz: int
    """Samples a second, both ways."""
    binary: bool
    """Audio travels in binary messages; False: as base64 text inside JSON."""
    clear: ClearSource
    mark: MarkSource
    marks_after_clear: MarksAfterClear
    marks_every_ms: int
    """A good distance between marks: each costs a message each way, and is a moment at which we know what was heard."""
    frame_multiple_bytes: int
    """Audio sent should be a whole multiple of this (20 ms for the carriers that do not insist)."""
    max_lead_ms: int
    """How much audio the carrier buffers at least; what is sent beyond it may be lost."""
    reorder: bool
    """Caller audio may arrive out of order and must be sorted by `StreamAudio.chunk`."""
    sends_stop: bool
    """The carrier says that the stream ends before it closes the socket."""
    close_hangs_up: bool
    """Closing the socket ends the call (where the carrier was told of nothing that comes after the stream)."""
    dtmf_in: bool
    """The caller's keys are reported."""
    dtmf_out: bool
    """We can send tones over the stream."""
    subprotocol: str | None
    """The WebSocket subprotocol to accept; None: none."""


# --- what a carrier's stream says --------------------------------------------------------------------------------------
# msgspec structs, because one of them is made per audio frame: 0.06 us, where a frozen attrs class takes 0.36.


class StreamStarted(msgspec.Struct, frozen=True):
    """The stream is up: the caller hears and is heard. It comes at most once."""

    stream_id: str
    call_sid: str
    account_sid: str
    """"" where the carrier has none."""
    parameters: Mapping[str, str]
    """What was attached to the stream when it was set up."""
    caller: str | None
    """The caller's number, where it is known."""
    called: str | None
    """The number that was called, where it is known."""


class StreamAudio(msgspec.Struct, frozen=True, gc=False):
    """A piece of the caller's voice, of any length (also none), in the stream's encoding.

    A gap in `timestamp_ms` or `chunk` is audio that was lost; a gap in the time of arrival is not.
    """

    audio: bytes
    timestamp_ms: int | None
    """When it begins, in milliseconds from the start of the stream; None where the carrier does not say."""
    chunk: int | None
    """Its number within the stream; None where the carrier does not say."""


class MarkEchoed(msgspec.Struct, frozen=True):
    """The audio before the mark is over: played, or cleared."""

    name: str


class DigitReceived(msgspec.Struct, frozen=True):
    """The caller pressed a key: one of 0-9, *, #, A-D."""

    digit: str


class StreamStopped(msgspec.Struct, frozen=True):
    """The carrier ends the stream. Nothing can be played any more."""

    reason: str


class OddityKind(Enum):
    """What is odd about a message that was ignored; logs and metrics use the same words."""

    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    NOT_BASE64 = "not_base64"
    BINARY = "binary"
    UNKNOWN_EVENT = "unknown_event"
    FOREIGN_STREAM = "foreign_stream"
    BEFORE_START = "before_start"
    REPEATED = "repeated"
    WRONG_TRACK = "wrong_track"
    AFTER_STOP = "after_stop"


MALFORMED = frozenset({OddityKind.NOT_JSON, OddityKind.WRONG_SHAPE, OddityKind.NOT_BASE64, OddityKind.BINARY})
"""The kinds that a carrier which speaks the dialect never sends: a stream may have only so many of them."""

MALFORMED_LIMIT = 20
"""After this many malformed messages the peer is taken for something that does not speak the dialect."""


class Oddity(msgspec.Struct, frozen=True):
    """A message that was ignored. `text` says what it was, without its audio, in at most 160 characters."""

    kind: OddityKind
    text: str


class StreamFault(msgspec.Struct, frozen=True):
    """The stream cannot go on and must be closed; `text` says why. It comes at most once, and nothing comes after it."""

    text: str


StreamEvent = StreamStarted | StreamAudio | MarkEchoed | DigitReceived | StreamStopped | Oddity | StreamFault


# --- the codec ---------------------------------------------------------------------------------------------------------


class Dialect(Protocol):
    """The codec of one stream."""

    @property
    def name(self) -> str:
        """The dialect's name, as in its path and in the configuration."""

    @property
    def capabilities(self) -> Capabilities:
        """What the carrier can do."""

    def decode(self, message: str | bytes) -> tuple[StreamEvent, ...]:
        """Read one WebSocket message of the carrier. It never raises, whatever the message is."""

    def encode(self, command: Command) -> tuple[str | bytes, ...]:
        """Write the messages that carry out `PlayAudio`, `SendMark`, `ClearPlayback` or, with `dtmf_out`, `SendDigits`.

        None once the stream stopped.

        Raises LocalProtocolError for any other command, and before the stream has started.
        """
