"""What holds for all tests: hypothesis judges what is found, not how long it took, which on a busy machine says nothing."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("trio-voice", deadline=None)
settings.load_profile("trio-voice")
