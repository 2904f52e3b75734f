"""The console that commands print on."""

from __future__ import annotations

from rich.console import Console


class PipedConsole(Console):
    """A console whose reader may leave (`| head`): that is raised, so that what is open is closed first. Rich's just exits."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, which the command line takes for a quiet end."""
        raise BrokenPipeError("nobody reads any more")
