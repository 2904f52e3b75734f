from __future__ import annotations

import pytest

from trio_voice.errors import ConfigError, LocalProtocolError, RemoteProtocolError, TrioVoiceError, UserError


def test_a_fault_is_ours_or_the_peers_and_never_both() -> None:
    assert not issubclass(LocalProtocolError, RemoteProtocolError)
    assert not issubclass(RemoteProtocolError, LocalProtocolError)


@pytest.mark.parametrize("kind", [LocalProtocolError, RemoteProtocolError, UserError, ConfigError])
def test_what_we_raise_on_purpose_can_be_caught_together(kind: type[TrioVoiceError]) -> None:
    with pytest.raises(TrioVoiceError, match="what happened"):
        raise kind("what happened")


def test_a_wrong_setting_is_the_users_mistake() -> None:
    assert issubclass(ConfigError, UserError)
    assert not issubclass(LocalProtocolError, UserError)
