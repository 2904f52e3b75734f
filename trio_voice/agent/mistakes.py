"""What a user's mistake in an agent or a tool is called."""

from __future__ import annotations

from trio_voice.errors import UserError


class AgentError(UserError, ValueError):
    """A mistake in the definition of an agent or a tool; it is raised when the definition is read, before any call.

    Its text names the tool and the argument, or the agent's field, and says what to write instead. It is a ValueError too, as
    attrs' own validators raise.
    """
