"""The conversation so far, as text: what a new session is seeded with.

A Realtime session cannot be given the assistant's audio, so a session that takes over is told in text what was said, and of a
reply that was cut off only what was heard of it.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

LONGEST = 200
LONGEST_TEXT = 4000


@define
class _Entry:
    role: str
    text: str = ""
    awaited: bool = False


@define
class History:
    """Entries in the order of the conversation, one per item; at most 200 of at most 4000 characters, the oldest go first."""

    _entries: OrderedDict[str, _Entry] = field(factory=OrderedDict, init=False)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._entries

    def caller_spoke(self, item_id: str) -> None:
        """A turn of the caller's was committed; its words may come later, or never."""
        self._entry(item_id, "user").awaited = True

    def transcribed(self, item_id: str, text: str) -> None:
        """The words of a caller's turn; those of an item that is not in the conversation (any more) are ignored."""
        entry = self._entries.get(item_id)
        if entry is not None:
            entry.text = text[:LONGEST_TEXT]
            entry.awaited = False

    def agent_said(self, item_id: str, text: str, *, final: bool) -> None:
        """A piece of the agent's words, or, when `final`, all of them."""
        entry = self._entry(item_id, "assistant")
        entry.text = (text if final else entry.text + text)[:LONGEST_TEXT]

    def noted(self, item_id: str, role: str, text: str) -> None:
        """A message that was put into the conversation as text."""
        self._entry(item_id, role).text = text[:LONGEST_TEXT]

    @property
    def awaits_words(self) -> bool:
        """The words of a caller's turn have not come."""
        return any(entry.awaited for entry in self._entries.values())

    def give_words_up(self) -> None:
        """Words that have not come will not."""
        for entry in self._entries.values():
            entry.awaited = False

    def cut(self, item_id: str, heard_ms: int, received_ms: int) -> None:
        """An item was heard only in part: keep that share of its words, to the last whole one."""
        entry = self._entries.get(item_id)
        if entry is None:
            return
        if heard_ms <= 0:
            del self._entries[item_id]
        elif heard_ms < received_ms:
            kept = entry.text[: len(entry.text) * heard_ms // received_ms]
            entry.text = kept.rpartition(" ")[0] + " ..." if " " in kept else kept

    def forget(self, item_id: str) -> None:
        """An item left the conversation."""
        self._entries.pop(item_id, None)

    def seed(self) -> list[tuple[str, str]]:
        """Role and text of all that has words, oldest first."""
        return [(entry.role, entry.text) for entry in self._entries.values() if entry.text]

    def _entry(self, item_id: str, role: str) -> _Entry:
        entry = self._entries.get(item_id)
        if entry is None:
            entry = self._entries[item_id] = _Entry(role)
            if len(self._entries) > LONGEST:
                self._entries.popitem(last=False)
        return entry
