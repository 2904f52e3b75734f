"""What the model has in its conversation and the caller has not heard: items to delete, and truncates to get right.

A message item that a cancelled response opened and that never sounded stays in the conversation unless it is deleted. A truncate
that is longer than what the model has is refused with a text that names what exists ("Audio content of 3700ms is already shorter
than 3760ms"); it is sent once more with that number. The refusal does not always name the command that it refuses.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

MOST_SILENT = 32
MOST_TRUNCATED = 16
_PREFIX = "truncate-"


@define
class UnheardItems:
    """The silent items of the response in progress, and the truncates that have not been confirmed."""

    _silent: list[str] = field(factory=list, init=False)
    _truncated: OrderedDict[str, int] = field(factory=OrderedDict, init=False)

    def added(self, item_id: str) -> None:
        """The response in progress opened a message item."""
        if item_id not in self._silent and len(self._silent) < MOST_SILENT:
            self._silent.append(item_id)

    def sounded(self, item_id: str) -> None:
        """There is audio of it: from now on a truncate is the way."""
        if item_id in self._silent:
            self._silent.remove(item_id)

    def take_silent(self) -> list[str]:
        """The response is over: what of it never sounded."""
        silent, self._silent = self._silent, []
        return silent

    def truncated(self, item_id: str, heard_ms: int) -> None:
        """A truncate is on its way."""
        self._truncated[item_id] = heard_ms
        if len(self._truncated) > MOST_TRUNCATED:
            self._truncated.popitem(last=False)

    def confirmed(self, item_id: str) -> None:
        """The model did it."""
        self._truncated.pop(item_id, None)

    def refused(self, event_id: str | None, message: str) -> tuple[str, int] | None:
        """An error came: if it refuses a truncate that is to be sent again, the item and the milliseconds that exist of it."""
        numbers = _milliseconds_in(message)
        if event_id is not None and event_id.startswith(_PREFIX):
            item_id: str | None = event_id.removeprefix(_PREFIX)
        elif event_id is None and len(numbers) == 2:
            item_id = next((item for item, heard_ms in self._truncated.items() if heard_ms == numbers[1]), None)
        else:
            return None
        asked_ms = self._truncated.pop(item_id, None) if item_id is not None else None
        if item_id is None or asked_ms is None or not numbers or numbers[0] >= asked_ms:
            return None
        return item_id, numbers[0]


def _milliseconds_in(message: str) -> list[int]:
    """The numbers of milliseconds that an error text names, in order."""
    words = [word.rstrip(".,") for word in message.split()]
    return [int(word[:-2]) for word in words if word.endswith("ms") and word[:-2].isdecimal()]
