"""What can be set about records."""

from __future__ import annotations

import pytest

from trio_voice.records.settings import RecordsSettings


def test_a_password_in_the_address_is_not_shown() -> None:
    assert "hunter2" not in repr(RecordsSettings(url="postgresql://tom:hunter2@db/calls"))


def test_a_spool_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="must be >= 1"):
        RecordsSettings(spool_limit=0)
