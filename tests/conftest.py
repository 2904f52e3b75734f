"""What holds for all tests.

Hypothesis judges what is found, not how long it took, which on a busy machine says nothing. Commands that tests run in this
process set up logging, under which a module's logger is made once for all: no other test shall meet it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("trio-voice", deadline=None)
settings.load_profile("trio-voice")


@pytest.fixture(autouse=True)
def logging_is_forgotten() -> Iterator[None]:
    yield
    structlog.reset_defaults()
