"""The model's side: its responses, its tool calls, its errors, and what is asked of it."""

from __future__ import annotations

from trio_voice.core.announcements import ANNOUNCED
from trio_voice.core.commands import (
    Discard,
    Note,
    Purpose,
    Refusal,
    Refuse,
    RunTool,
    SendToolResult,
    TruncateItem,
)
from trio_voice.core.cutting import forget_silent_items
from trio_voice.core.ending import apologise, extend_fallback
from trio_voice.core.events import (
    ItemAdded,
    ItemKind,
    ItemTruncated,
    JobEnded,
    JobStarted,
    ModelAudio,
    ModelAudioEnded,
    ModelErred,
    ModelTranscript,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SendFailed,
    ToolCalled,
    ToolFinished,
    ToolStarted,
)
from trio_voice.core.parts import Parts
from trio_voice.core.renewal import replace
from trio_voice.core.response import Request
from trio_voice.core.settings import Turns
from trio_voice.core.states import CallState, ResponseState, TurnState
from trio_voice.core.switching import on_update_unsent
from trio_voice.core.texts import announce

NEVER_RETRY = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
        "invalid_model",
        "missing_model",
        "model_not_found",
        "beta_api_shape_disabled",
    }
)
"""Errors that no retry can mend (OpenAI Realtime API reference, error codes)."""

CANCEL_NOT_ACTIVE = "response_cancel_not_active"
ALREADY_ACTIVE = "conversation_already_has_active_response"
TOOL_TOO_SLOW = '{"error": "the tool did not answer in time"}'
TOO_MANY_TOOLS = '{"error": "too many tools at the same time"}'


# --- responses


def on_response_created(parts: Parts, event: ResponseCreated, now: float) -> None:
    """A response begins: the turn is answered by it, unless what it was asked for is something else."""
    guard = parts.guard
    replaced = guard.response_id
    answer = guard.created(event.response_id, event.request, now)
    parts.do(*answer)
    if answer:
        return  # a duplicate, or a doomed one that is being cancelled
    is_an_answer = guard.asked is None or guard.asked.instructions is None
    parts.sessions.proved()
    parts.retries.began(event.request, is_an_answer)
    if replaced is not None:  # turns = "model": the model's own cancel is reported late
        parts.do(*parts.playback.end_response(replaced, now))
        forget_silent_items(parts, delete=False)
    if parts.standing.call is CallState.LEAVING:
        parts.do(*guard.stop(now))
        return
    answers_a_turn = is_an_answer and parts.standing.turn is TurnState.OWED and not guard.answer_waits
    parts.idle.reset(prompts=answers_a_turn or guard.asked is None)
    if answers_a_turn:
        parts.turn.dropped()


def on_item_added(parts: Parts, event: ItemAdded, now: float) -> None:
    """A message that never sounds is remembered, to be deleted if the response is stopped."""
    if event.kind is ItemKind.MESSAGE and event.response_id == parts.guard.response_id:
        parts.items.added(event.item_id)
    _is_wanted(parts, event.response_id, now)


def on_model_audio(parts: Parts, event: ModelAudio, now: float) -> None:
    """Let the caller hear it."""
    if not _is_wanted(parts, event.response_id, now):
        return
    parts.items.sounded(event.item_id)
    parts.do(*parts.playback.play(event, now))
    if parts.standing.call is CallState.GOODBYE:
        extend_fallback(parts, now)
    if parts.playback.overfull:
        parts.do(Note("the response does not end"), *parts.guard.stop(now))
        parts.do(*parts.playback.end_response(event.response_id, now))


def on_model_audio_ended(parts: Parts, event: ModelAudioEnded, now: float) -> None:
    """The end of an item gets a mark of its own."""
    if _is_wanted(parts, event.response_id, now):
        parts.do(*parts.playback.end_item(event.item_id, now))


def on_model_transcript(parts: Parts, event: ModelTranscript, now: float) -> None:
    """The words of a reply, for the memory of the conversation."""
    if _is_wanted(parts, event.response_id, now):
        parts.history.agent_said(event.item_id, event.text, final=event.final)


def _is_wanted(parts: Parts, response_id: str, now: float) -> bool:
    """Whether the response may still be heard; what comes of another is dropped, however late it comes."""
    verdict = parts.guard.verdict(response_id)
    if verdict is None:
        parts.guard.progressed(now)
        return True
    parts.do(Discard(verdict))
    return False


def on_response_done(parts: Parts, event: ResponseDone, now: float) -> None:
    """A response is over: see to what it owes, or to its failure."""
    guard = parts.guard
    asked, stopped, blocked = guard.asked, guard.stopped, guard.state is ResponseState.BLOCKED
    was_heard = parts.playback.has_audio_of(event.response_id)
    if not guard.done(event.response_id, now):
        parts.do(Discard(Refusal.DUPLICATE))
        return
    parts.do(*parts.playback.end_response(event.response_id, now))
    forget_silent_items(parts, delete=stopped)
    tools_bring_another = parts.tools.busy and (asked is None or asked.purpose not in ANNOUNCED)
    if stopped or blocked or tools_bring_another:
        return
    cut_short = event.status in (ResponseStatus.CANCELLED, ResponseStatus.INCOMPLETE) and not was_heard
    if event.status is ResponseStatus.FAILED or (cut_short and parts.settings.turns is Turns.OURS):
        failed(parts, asked, event.error_code, now)
    else:
        parts.retries.succeeded()


def failed(parts: Parts, asked: Request | None, code: str | None, now: float) -> None:
    """A reply came to nothing: ask again after a while, or end the call politely; never silence."""
    if parts.standing.call is CallState.LEAVING or (asked is not None and asked.purpose is Purpose.FILLER):
        return
    if code in NEVER_RETRY or not parts.retries.failed(asked, parts.guard.number, now):
        apologise(parts, f"the model fails: {code or 'no reason given'}", now)


# --- errors


def on_model_erred(parts: Parts, event: ModelErred, now: float) -> None:
    """Most errors answer a command of ours that lost a race; an unknown one ends nothing."""
    guard = parts.guard
    if event.code == CANCEL_NOT_ACTIVE:
        if guard.cancel_refused(event.event_id, now):
            parts.do(Note("the response had ended before the cancel came"))
            forget_silent_items(parts, delete=True)
    elif event.code == ALREADY_ACTIVE:
        guard.create_blocked(event.event_id, _response_named_in(event.message), now)
    elif event.code in NEVER_RETRY:
        apologise(parts, f"the model refuses: {event.code}", now)
    elif event.event_id is not None and event.event_id.startswith("create-"):
        asked = guard.create_refused(event.event_id, now)
        if asked is not None:
            failed(parts, asked, event.code, now)
    else:
        again = parts.items.refused(event.event_id, event.message)
        if again is not None:
            parts.do(TruncateItem(event.session, *again))


def _response_named_in(message: str) -> str | None:
    """The response that "already has an active response in progress: resp_X." names."""
    for word in message.replace(".", " ").split():
        if word.startswith("resp_"):
            return word
    return None


def on_item_truncated(parts: Parts, event: ItemTruncated, _now: float) -> None:
    """A truncate arrived."""
    parts.items.confirmed(event.item_id)


def on_send_failed(parts: Parts, event: SendFailed, now: float) -> None:
    """A command did not leave: a cancel may be tried again, a request is made again."""
    on_update_unsent(parts, event.event_id, now)
    asked = parts.guard.unsent(event.event_id, now)
    if asked is not None:
        failed(parts, asked, None, now)


# --- tools


def on_tool_called(parts: Parts, event: ToolCalled, now: float) -> None:
    """Run the tool, once."""
    if not _is_wanted(parts, event.response_id, now):
        return
    full = parts.tools.full
    if not parts.tools.called(event, now):
        parts.do(Discard(Refusal.DUPLICATE))
    elif full:
        _answer_tool(parts, event.tool_call_id, TOO_MANY_TOOLS)
    else:
        parts.do(RunTool(event.tool_call_id, event.name, event.arguments, event.session))


def on_tool_started(parts: Parts, event: ToolStarted, now: float) -> None:
    """A tool has a limit of its own."""
    if not parts.tools.started(event.tool_call_id, event.limit_s, now):
        parts.do(Discard(Refusal.TOO_LATE))


def on_tool_finished(parts: Parts, event: ToolFinished, _now: float) -> None:
    """A tool answered."""
    _answer_tool(parts, event.tool_call_id, event.output)


def _answer_tool(parts: Parts, tool_call_id: str, output: str) -> None:
    """Hand a tool's output to the session that asked; a successor is told in words, one that is still to come with its seed."""
    call = parts.tools.finished(tool_call_id)
    if call is None:
        parts.do(Note(f"the answer of tool call {tool_call_id} came too late and is dropped"))
        return
    session, in_words = parts.standing.session, f"Result of {call.name}: {output}"
    if session is not None and session != call.session:
        parts.add_text("system", in_words)
        return
    parts.history.noted(f"tool-{tool_call_id}", "system", in_words)
    if session is not None:
        parts.do(SendToolResult(session, tool_call_id, output))


def go_on_after_tools(parts: Parts, now: float) -> None:
    """One reply for the outputs of all tools that ran side by side."""
    if parts.tools.reply_owed and not parts.tools.running and parts.guard.idle and parts.standing.session is not None:
        parts.tools.reply_owed = False
        parts.ask(Request(Purpose.TOOL_RESULT), now)


def at_tool(parts: Parts, now: float) -> None:
    """Tools that take too long are reported to the model as failed."""
    for tool_call_id in parts.tools.overdue(now):
        _answer_tool(parts, tool_call_id, TOOL_TOO_SLOW)


# --- jobs


def on_job_started(parts: Parts, event: JobStarted, now: float) -> None:
    """A job runs: a silence that waits for it is no idle caller's."""
    parts.jobs.started(event.job, event.limit_s, now)


def on_job_ended(parts: Parts, event: JobEnded, _now: float) -> None:
    """A job is over."""
    if not parts.jobs.ended(event.job):
        parts.do(Discard(Refusal.TOO_LATE))


def at_job(parts: Parts, now: float) -> None:
    """The end of a job was not reported."""
    parts.jobs.give_up(now)


# --- deadlines of a response


def at_watchdog(parts: Parts, now: float) -> None:
    """The turn is still without a response: ask again, a bounded number of times, then in another session."""
    guard, turn = parts.guard, parts.turn
    if guard.state is ResponseState.REQUESTED and guard.asked is not None and guard.asked.instructions is None:
        guard.gave_up(now)  # that is the request whose answer is missing
    refusal = guard.refusal(Purpose.WATCHDOG)
    if refusal is None and parts.playback.speaking:
        refusal = Refusal.RESPONSE_ACTIVE
    if refusal is not None:
        parts.do(Refuse(Purpose.WATCHDOG, refusal))
    elif turn.asked_again >= parts.settings.watchdog_retries:
        parts.do(Note("the watchdog has asked often enough: the session is replaced"))
        replace(parts, now)
        return
    else:
        turn.asked_again += 1
        parts.ask(Request(Purpose.WATCHDOG), now)
    turn.asked(now)


def at_created(parts: Parts, now: float) -> None:
    """The request was not answered."""
    asked = parts.guard.gave_up(now)
    looked_after = parts.standing.turn is TurnState.OWED  # by the watchdog
    if asked is not None and (asked.instructions is not None or not looked_after):
        failed(parts, asked, None, now)


def at_first_audio(parts: Parts, now: float) -> None:
    """The response does not begin to speak: stop it and ask again."""
    asked = parts.guard.asked
    parts.do(Note("the response produces nothing"), *parts.guard.stop(now))
    failed(parts, asked, None, now)


def at_audio_gap(parts: Parts, now: float) -> None:
    """The response stopped in the middle: stop it; what was said was said."""
    response_id = parts.guard.response_id
    parts.do(Note("the response has stopped in the middle"), *parts.guard.stop(now))
    parts.do(*parts.playback.end_response(response_id, now))


def at_done(parts: Parts, now: float) -> None:
    """The cancel was not answered: the response is over for us."""
    parts.do(Note("the end of the cancelled response was not reported"))
    parts.guard.gave_up(now)
    forget_silent_items(parts, delete=True)


def at_blocked(parts: Parts, now: float) -> None:
    """A response that we do not know has been in the way for too long: stop it if it has a name, else ask again, not for ever."""
    cancel = parts.guard.stop(now)
    parts.do(Note("an unknown response is in the way"), *cancel)
    if not cancel:
        parts.guard.gave_up(now)
        waiting, parts.guard.waiting = parts.guard.waiting, None
        if waiting is not None:
            failed(parts, waiting, None, now)


def at_retry(parts: Parts, now: float) -> None:
    """Ask again for what failed."""
    request = parts.retries.take()
    if request is None:
        return
    if request.purpose in ANNOUNCED:
        announce(parts, request, now)
    else:
        parts.ask(request, now)
