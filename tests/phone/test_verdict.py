"""When a call counts as failed, and why."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
import trio
from trio_websocket import WebSocketConnection

from trio_voice.phone.caller import EndedBy, Ending, PhoneCall
from trio_voice.phone.carrier import Carrier, CarrierWarning, Happening, Identity, LineEvent
from trio_voice.phone.scenario import Performance, Scenario, Spoken
from trio_voice.phone.verdict import why_failed

SOUND, SILENCE = b"\x90", b"\xff"


def ended(code: int = 1000, reason: str = "", by: EndedBy = EndedBy.SERVER, *warnings: CarrierWarning) -> PhoneCall:
    scenario, (outgoing, to_send) = Scenario(), trio.open_memory_channel[str](0)
    socket: WebSocketConnection = None  # type: ignore[assignment] # - a call that has ended has none
    call = PhoneCall(scenario, Carrier(Identity.made_up()), Performance(scenario), socket, outgoing, to_send)
    call.ending = Ending(by, 2.0, code, reason)
    call.carrier.warnings.extend(warnings)
    call.carrier.events.append(LineEvent(0.5, Happening.AGENT_HEARD))
    return call


def journal(*records: dict[str, object]) -> list[str]:
    return ['{"journal":1}', "{", "7", *(json.dumps({"t": 1.0} | record) for record in records)]


LOST = {"event": "SessionLost", "session": 1, "reason": "connection refused", "retryable": True}
READY = {"event": "SessionReady", "session": 2}
APOLOGY = {"command": "PlayAudio", "response_id": "apology", "item_id": "apology"}
SPEECH = {"command": "PlayAudio", "response_id": "r1", "item_id": "i1"}
HUNG_UP = {"command": "HangUp", "reason": "no model session within the limit"}
GONE = {"event": "CallerHungUp", "reason": "stop"}


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([], None),
        ([READY, SPEECH, HUNG_UP], None),
        ([LOST, READY, SPEECH, GONE], None),
        ([READY, SPEECH, GONE, LOST], None),  # a session is over when its call is
        ([LOST, GONE], "the model's session was lost, and no other came: connection refused"),
        ([{"event": "SessionLost"}, GONE], "the model's session was lost, and no other came: for no reason that was told"),
        ([LOST, APOLOGY, HUNG_UP], "the caller heard an apology: no model session within the limit (connection refused)"),
        ([READY, APOLOGY, HUNG_UP], "the caller heard an apology: no model session within the limit"),
        ([LOST, APOLOGY, GONE], "the caller heard an apology: connection refused"),
        ([READY, APOLOGY], "the caller heard an apology: the journal does not say why"),
        (
            [READY, {"event": "FatalErrorRaised", "reason": "alarm: KeyError"}, APOLOGY, HUNG_UP],
            "something failed in the server: alarm: KeyError; its log tells more",
        ),
    ],
)
def test_what_the_journal_tells(records: list[dict[str, object]], says: str | None) -> None:
    assert why_failed(ended(), journal(*records)) == says


def test_what_the_line_tells() -> None:
    warning = CarrierWarning(1.0, 31950, "binary message of 3 bytes")
    assert why_failed(ended(1006, "", EndedBy.LINE), []) == "the line ended the call with code 1006"
    assert why_failed(ended(1011, "internal error"), []) == "the server ended the call with code 1011 (internal error)"
    assert why_failed(ended(1000, "", EndedBy.SERVER, warning), []) == (
        "the server broke the carrier's protocol: 31950 binary message of 3 bytes"
    )


def test_a_caller_who_hears_nothing_for_long_was_not_answered() -> None:
    call = ended()
    call.carrier.events.clear()
    call.ending = Ending(EndedBy.CALLER, 7.9, 1000)
    assert why_failed(call, []) is None
    call.ending = Ending(EndedBy.CALLER, 8.0, 1000)
    assert why_failed(call, []) == "the agent was never heard in 8.0 s"
    call.carrier.events.append(LineEvent(1.0, Happening.AGENT_HEARD))
    assert why_failed(call, []) is None


def test_a_server_that_hangs_up_without_a_word_has_failed() -> None:
    call = ended()
    call.carrier.events.clear()
    assert why_failed(call, []) == "the agent was never heard in 2.0 s, and the server ended the call"


def test_the_apology_is_known_by_its_sound() -> None:
    sound = files("trio_voice.server").joinpath("apology.ulaw").read_bytes()
    call = ended()
    call.carrier.heard += SILENCE * 1234 + sound
    assert why_failed(call, []) == "the caller heard an apology; the server's log tells why"
    call.ending = Ending(EndedBy.SERVER, 6.0, 1000, "no model session within the limit")
    assert why_failed(call, []) == "the caller heard an apology: no model session within the limit"
    call.carrier.heard[:] = SILENCE * 8000 + sound[:8000]  # one that was broken off in its first words
    assert why_failed(call, []) is None


def test_a_caller_who_waits_in_vain_for_an_answer_was_not_answered() -> None:
    call = ended()
    call.carrier.heard += SOUND * 16_000 + SILENCE * 112_000  # a greeting of 2 s, and nothing more
    call.performance.spoken.append(Spoken("Hello?", 3.0, 4.5))
    assert why_failed(call, []) == "the caller spoke at 3.0 s, and heard nothing for 11.5 s"
    call.carrier.heard[96_000:104_000] = SOUND * 8000
    assert why_failed(call, []) is None
