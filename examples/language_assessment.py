"""A tutor who speaks Spanish with the caller until they reach their ceiling, and then tells them, in English, how good they are.

    make run EXAMPLE=language_assessment     and in another terminal: make call

A text model reads the conversation while the caller waits, and the tutor says every three seconds that it is not forgotten. It is
asked where the voice's model is: at OpenAI with a key, else at the embedded model's stand-in, out of the same script.
"""

from __future__ import annotations

from typing import Literal

from openai import AsyncOpenAI, OpenAIError

from trio_voice import Agent, CallContext, tool

TEXT_MODEL = "gpt-5-mini"
ENGLISH_VOICE = "cedar"
ASSESSOR = (
    "You assess how well a learner speaks Spanish, by a telephone conversation with a tutor. Answer in English, as it is to be "
    "read aloud to the learner: their level of the CEFR, what they do well, and what to practise next. Three short sentences."
)


@tool
async def ceiling_reached(call: CallContext, level: Literal["A1", "A2", "B1", "B2", "C1", "C2"], reason: str) -> str:
    """Call this when the caller could not follow two questions in a row, or after ten questions.

    Args:
        level: The level of the last question that the caller answered well.
        reason: What was too hard, in a few words.
    """
    call.data["level"] = level
    call.journal(f"the ceiling is reached at {level}: {reason}")
    call.start_job(assess, limit_s=60)
    return "the assessment is being made; ask the caller, in Spanish, to wait a moment"


async def assess(call: CallContext) -> None:
    """Have the conversation assessed, and tell the caller in English."""
    async with call.keepalive("Un momento más, por favor.", every_s=3):
        summary = await summarise(call)
    if not await call.switch_voice(ENGLISH_VOICE).wait():
        call.journal("the summary is spoken in the tutor's voice")
    call.say(summary)


async def summarise(call: CallContext) -> str:
    """Ask the text model; it is a sentence in any case."""
    lines = "\n".join(f"{role}: {text}" for role, text in call.conversation() if role != "system")
    try:
        async with AsyncOpenAI(base_url=call.api.base_url, api_key=call.api.key or "none", timeout=40.0) as client:
            answer = await client.chat.completions.create(
                model=TEXT_MODEL,
                messages=[
                    {"role": "developer", "content": ASSESSOR},
                    {"role": "user", "content": f"The tutor puts the learner at {call.data['level']}. The call so far:\n{lines}"},
                ],
            )
    except OpenAIError as error:
        call.journal(f"no assessment: {error}")
        return f"You reached level {call.data['level']}. I cannot tell you more today; please call again."
    return answer.choices[0].message.content or f"You reached level {call.data['level']}."


agent = Agent(
    name="Spanish tutor",
    voice="marin",
    greeting="Say: Hola, soy su tutora de español. ¿Cómo se llama usted?",
    instructions=(
        "You are a tutor who finds out how well a caller speaks Spanish. Speak Spanish only. Ask one short question at a time, "
        "each a little harder than the last that was answered well. When the caller cannot follow two questions in a row, or "
        "after ten questions, call ceiling_reached. When the caller has heard the assessment and says goodbye, say goodbye and "
        "end the call."
    ),
    tools=[ceiling_reached],
)
