"""What holds for all tests, and what several share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from trio_voice.logs import ACCEPTING, TALKATIVE

# hypothesis judges what is found, not how long it took, which on a busy machine says nothing.
settings.register_profile("trio-voice", deadline=None)
settings.load_profile("trio-voice")


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Leave logging as it was found, for tests of what sets it up: it is the whole process's."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger(ACCEPTING).filters = []
    structlog.reset_defaults()
