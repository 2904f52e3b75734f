"""A receptionist who books appointments. Run it with:  make run ARGS=examples/appointments.py

With OPENAI_API_KEY the model decides when to call the tool; the embedded model's default script knows no tools but `hang_up`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import trio
from msgspec import Meta

from trio_voice import Agent, CallContext, tool


@tool(filler="One moment, I look into the calendar.", timeout_s=10)
async def book(
    call: CallContext, day: Literal["Monday", "Tuesday", "Thursday"], hour: Annotated[int, Meta(ge=9, le=17)] = 9
) -> dict[str, str]:
    """Book an appointment. Repeat day and hour to the caller before you do.

    Args:
        day: The day that the caller wants.
        hour: The hour, from 9 to 17.
    """
    await trio.sleep(0.5)  # a calendar would be asked here
    call.data["booked"] = (day, hour)
    call.journal(f"booked {day} at {hour}")
    return {"booked": f"{day} at {hour}"}


agent = Agent(
    name="practice of Doctor Green",
    voice="cedar",
    greeting="Say: Good morning, the practice of Doctor Green. How can I help you?",
    instructions=(
        "You answer the telephone of a doctor's practice. Speak in short sentences, one question at a time. "
        "Find out what it is about and book an appointment. When the caller says goodbye, say goodbye and end the call."
    ),
    tools=[book],
)
