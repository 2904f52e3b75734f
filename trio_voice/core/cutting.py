"""Taking the floor from the agent."""

from __future__ import annotations

from trio_voice.core.announcements import ANNOUNCED
from trio_voice.core.commands import DeleteItem, TruncateItem
from trio_voice.core.deadlines import Timer
from trio_voice.core.parts import Parts
from trio_voice.core.states import ResponseState


def cut_off(parts: Parts, now: float) -> None:
    """Silence the agent: flush, cancel, and make the model remember only what was heard. In this order.

    The first item that was cut is truncated where the caller was, those behind it are deleted unless something of them was heard
    (items can stream side by side). What a session that is gone had said is only cut in our own memory of the conversation.
    """
    parts.deadlines.cancel(Timer.BARGE_IN_CONFIRM)
    clear, cuts = parts.playback.clear(now)
    parts.do(*clear)
    _stop_response(parts, now)
    first = True
    for cut in cuts:
        parts.history.cut(cut.item_id, cut.heard_ms, cut.received_ms)
        if cut.session != parts.standing.session:
            continue
        if first or cut.heard_ms:
            parts.items.truncated(cut.item_id, cut.heard_ms)
            parts.do(TruncateItem(cut.session, cut.item_id, cut.heard_ms))
        else:
            parts.do(DeleteItem(cut.session, cut.item_id))
        first = False


def _stop_response(parts: Parts, now: float) -> None:
    guard = parts.guard
    if guard.state is ResponseState.REQUESTED and guard.asked is not None and guard.asked.purpose in ANNOUNCED:
        parts.announcements.put_back(guard.asked, now)  # not a word of it was heard
    parts.do(*guard.stop(now))


def forget_silent_items(parts: Parts, *, delete: bool) -> None:
    """The response in progress is over: what it opened and never sounded leaves the conversation, if it was stopped."""
    for item_id in parts.items.take_silent():
        if delete and parts.standing.session is not None:
            parts.history.forget(item_id)
            parts.do(DeleteItem(parts.standing.session, item_id))
