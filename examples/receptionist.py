"""A receptionist who looks into the calendar, books an appointment, and hands questions about money over to billing.

    make run EXAMPLE=receptionist            and in another terminal: make call

With OPENAI_API_KEY the model decides when to use a tool; without, the script in examples/scripts/ plays a model that does.
"""

from __future__ import annotations

from typing import Annotated, Literal

import trio
from msgspec import Meta

from trio_voice import Agent, CallContext, ToolError, tool

Day = Literal["Monday", "Tuesday", "Thursday"]
calendar: dict[str, list[int]] = {"Monday": [9, 11], "Tuesday": [10, 11, 14, 15, 16], "Thursday": [16]}
invoices = [{"number": 4711, "amount": "80 euros", "paid": False}]


@tool(filler="One moment, I look into the calendar.", timeout_s=10)
async def free_hours(day: Day) -> dict[str, object]:
    """Look up which hours of a day are free.

    Args:
        day: The day that the caller wants.
    """
    await trio.sleep(0.3)  # a calendar would be asked here
    return {"day": day, "hours": calendar[day]}


@tool(timeout_s=10)
async def book(call: CallContext, day: Day, hour: Annotated[int, Meta(ge=8, le=18)] | None = None) -> dict[str, object]:
    """Book an appointment. Repeat day and hour to the caller before you do.

    Args:
        day: The day that the caller wants.
        hour: The hour; left out: the first that is free.
    """
    if not calendar[day]:
        raise ToolError(f"nothing is free on {day} any more")
    hour = calendar[day][0] if hour is None else hour
    if hour not in calendar[day]:
        raise ToolError(f"{day} at {hour} is taken; free are {calendar[day]}")
    calendar[day].remove(hour)
    call.data["booked"] = (day, hour)
    call.journal(f"booked {day} at {hour}")
    return {"booked": True, "day": day, "hour": hour}


@tool
async def open_invoices() -> list[dict[str, object]]:
    """Look up the caller's invoices that are not paid."""
    return [each for each in invoices if not each["paid"]]


billing = Agent(
    name="billing",
    voice="cedar",
    instructions=(
        "You are billing, at the practice of Doctor Green. Answer questions about invoices in short sentences. "
        "When the caller has no more questions, say goodbye and end the call."
    ),
    tools=[open_invoices],
)


@tool
async def to_billing(call: CallContext) -> str:
    """Hand the call over to billing, for questions about invoices and money. Tell the caller first."""
    if not await call.hand_off(billing).wait():
        raise ToolError("billing cannot take the call now; offer the caller to be called back")
    return "billing has taken over"


agent = Agent(
    name="reception",
    voice="marin",
    greeting="Say: Good morning, the practice of Doctor Green. How can I help you?",
    instructions=(
        "You are the reception of the practice of Doctor Green. Speak in short sentences, one question at a time. "
        "Find out what it is about, look which hours are free, and book an appointment. Questions about money are for billing. "
        "When the caller says goodbye, say goodbye and end the call."
    ),
    tools=[free_hours, book, to_billing],
)
