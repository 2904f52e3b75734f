from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trio_voice.errors import ConfigError, LocalProtocolError, RemoteProtocolError, TrioVoiceError, UserError, how_to_install


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


def test_what_installs_a_package_works_where_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    assert how_to_install("a", "b>=2") == ".venv/bin/python -m pip install a 'b>=2'"
    monkeypatch.setattr(sys, "executable", "/opt/my tools/python")
    assert how_to_install("a") == "'/opt/my tools/python' -m pip install a"
