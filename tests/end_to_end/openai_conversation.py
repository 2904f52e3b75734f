"""A conversation held by the openai package's own client, under asyncio, as a program of its own: `... URL AUDIO.ulaw`.

It prints one JSON object: what it heard and saw. The test beside it starts it and judges.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - the package's client knows nothing else, and this is a process of its own
import base64
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeServerEvent

TIMEOUT_S = 20.0
TOOL: Any = {
    "type": "function",
    "name": "free_slots",
    "description": "The free slots of a day.",
    "parameters": {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]},
}


class Conversation:
    """A connection, and all that came over it."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.types: list[str] = []
        self.audio_ms: dict[str, int] = {}

    async def events(self) -> AsyncIterator[RealtimeServerEvent]:
        async for event in self.connection:
            self.types.append(event.type)
            if event.type == "response.output_audio.delta":
                duration_ms = len(base64.b64decode(event.delta)) // 8
                self.audio_ms[event.item_id] = self.audio_ms.get(event.item_id, 0) + duration_ms
            yield event

    async def until(self, kind: str) -> Any:
        async for event in self.events():
            if event.type == kind:
                return event
        raise EOFError(f"closed before {kind}")

    async def speak(self, ulaw: bytes) -> None:
        for start in range(0, len(ulaw), 160):
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(ulaw[start : start + 160]).decode())


async def converse(connection: AsyncRealtimeConnection, sentence: bytes) -> dict[str, Any]:
    silence = b"\xff" * 8000
    seen: dict[str, Any] = {}
    talk = Conversation(connection)
    created = await talk.until("session.created")
    seen["model"] = created.session.model
    await connection.session.update(
        session={
            "type": "realtime",
            "tools": [TOOL],
            "audio": {
                "input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "whisper-1"}},
                "output": {"format": {"type": "audio/pcmu"}, "voice": "cedar"},
            },
        }
    )
    seen["voice"] = (await talk.until("session.updated")).session.audio.output.voice

    await connection.response.create(response={"metadata": {"which": "greeting"}})
    done = (await talk.until("response.done")).response
    seen["greeting"] = [done.status, done.output[0].content[0].transcript, done.metadata]

    await talk.speak(silence + sentence + silence)  # a spoken turn that is answered by a function call
    call = await talk.until("response.function_call_arguments.done")
    seen["call"] = [call.name, json.loads(call.arguments)]
    await talk.until("response.done")
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "ten and noon"}
    await connection.conversation.item.create(item=output)
    await connection.response.create()
    done = (await talk.until("response.done")).response
    seen["answer"] = done.output[0].content[0].transcript

    await talk.speak(silence)
    await connection.response.create(response={"instructions": "Tell a long story."})
    item_id = (await talk.until("response.output_audio.delta")).item_id
    await talk.speak(sentence)  # the caller interrupts
    done = (await talk.until("response.done")).response
    seen["interrupted"] = [done.status, done.status_details.reason]
    await connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=100)
    seen["truncated_ms"] = (await talk.until("conversation.item.truncated")).audio_end_ms
    await connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=200)
    seen["refused"] = (await talk.until("error")).error.message

    await connection.response.cancel(response_id="resp_none")
    seen["cancel"] = (await talk.until("error")).error.code
    seen["types"] = sorted(set(talk.types))
    seen["audio_ms"] = sum(talk.audio_ms.values())
    return seen


async def main(url: str, sentence: bytes) -> None:
    client = AsyncOpenAI(api_key="sk-test", base_url=url.replace("ws:", "http:").removesuffix("/realtime"))
    async with client, client.realtime.connect(model="gpt-realtime-2.1") as connection:
        seen = await asyncio.wait_for(converse(connection, sentence), TIMEOUT_S)
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes()))
