"""The switches of one running session, and how much of the counted ones has been used up."""

from __future__ import annotations

from attrs import define, field

from trio_voice.realtime_server.switches import DEFAULT_SWITCHES, Switches


@define
class Behaviour:
    """Shared by the parts of a session, so that a control call can change it while it runs."""

    switches: Switches = DEFAULT_SWITCHES
    _used: dict[str, int] = field(factory=dict, init=False)

    def spend(self, name: str, allowed: int) -> bool:
        """Whether one of the first `allowed` is due; each call that says yes uses one up."""
        used = self._used.get(name, 0)
        if used >= allowed:
            return False
        self._used[name] = used + 1
        return True

    def change(self, switches: Switches) -> None:
        """Set the switches anew; the counts start again."""
        self.switches = switches
        self._used.clear()
