from __future__ import annotations

from tests.realtime_server.wire import caller_ulaw, connect


def test_a_spoken_turn_is_answered_in_the_order_of_the_service() -> None:
    wire = connect().silence(1.0).hear(caller_ulaw()).silence(4.0)
    assert wire.types() == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
