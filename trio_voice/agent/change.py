"""What becomes of a change of the voice or the agent that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    import trio


@define(eq=False)
class Change:
    """A change that is on its way. It takes until what is being said has been heard, and a moment for the model.

    `failure` says why it was not made; then the call goes on as it was.
    """

    failure: str | None = field(default=None, init=False)
    _over: trio.Event = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        import trio  # noqa: PLC0415 - importing an agent's names costs next to nothing

        self._over = trio.Event()

    @property
    def is_over(self) -> bool:
        """It was made, or has failed."""
        return self._over.is_set()

    @property
    def is_made(self) -> bool:
        """It was made."""
        return self._over.is_set() and self.failure is None

    async def wait(self) -> bool:
        """Wait until it is over; tells whether it was made. Not for sync tools, which run in threads."""
        await self._over.wait()
        return self.is_made

    def end(self, failure: str | None) -> None:
        """It is over (the server says so, in the call's own thread)."""
        if not self._over.is_set():
            self.failure = failure
            self._over.set()
