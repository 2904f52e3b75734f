"""Whose fault it is.

Two families, as in h11: a `LocalProtocolError` is a bug of ours and is allowed to end the call it happened in; a
`RemoteProtocolError` is something a peer sent, is journalled and counted, and ends a call only where going on would be worse.
`UserError` is the user's own mistake: the command line prints its one sentence and exits with code 2, never with a traceback.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


class TrioVoiceError(Exception):
    """The base of every error that trio-voice raises on purpose."""


class LocalProtocolError(TrioVoiceError):
    """We did something that the protocol forbids in this state: a bug in trio-voice."""


class RemoteProtocolError(TrioVoiceError):
    """A peer (carrier, model) sent something that its protocol does not allow."""


class UserError(TrioVoiceError):
    """A mistake of the person who started the program; its text says what happened, where, and what to do."""


class ConfigError(UserError):
    """A setting is missing, malformed or out of range; the text names the key and the fix."""


def how_to_install(*packages: str) -> str:
    """Return the command that gets packages for the Python that runs: by their own names, which work from anywhere."""
    python = Path(sys.executable)
    here = Path.cwd()
    shown = python.relative_to(here) if python.is_relative_to(here) else python
    return shlex.join([str(shown), "-m", "pip", "install", *packages])
