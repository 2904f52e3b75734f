"""Call tokens: once, soon, and made here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from trio_voice.server.tokens import CallTokens, Issuer, TokenFault, TokenRefused


@define
class World:
    """Tokens, and a clock in the test's hand."""

    now: float = 1_000.0
    tokens: CallTokens = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = CallTokens(60.0, b"key", lambda: self.now)

    def fault(self, token: str) -> TokenFault | None:
        try:
            self.tokens.find(token)
        except TokenRefused as refused:
            return refused.fault
        return None


def test_r40_a_token_opens_one_stream() -> None:
    world = World()
    token = world.tokens.issue(Issuer.API)
    assert world.tokens.find(token).issuer is Issuer.API
    assert world.fault(token) is None
    world.tokens.use(token)
    assert world.fault(token) is TokenFault.USED


def test_r40_another_spelling_of_a_token_is_no_token() -> None:
    world = World()
    for _ in range(50):
        token = world.tokens.issue(Issuer.API)
        spelt = token.replace("-", "+").replace("_", "/")
        if spelt != token:
            assert world.fault(spelt) is TokenFault.UNKNOWN
            world.tokens.use(token)
            assert world.fault(spelt) is TokenFault.UNKNOWN
            assert world.fault(token) is TokenFault.USED
            return
    raise AssertionError("50 tokens without a character that can be spelt in another way")


def test_r40_a_token_expires_after_exactly_its_limit() -> None:
    world = World()
    token = world.tokens.issue(Issuer.WEBHOOK, "CA1")
    world.now += 59.999
    assert (world.fault(token), world.tokens.pending) == (None, 1)
    world.now += 0.001
    assert (world.fault(token), world.tokens.pending) == (TokenFault.EXPIRED, 0)


def test_r40_a_webhooks_token_is_for_its_call() -> None:
    world = World()
    ticket = world.tokens.find(world.tokens.issue(Issuer.WEBHOOK, "CA1"))
    assert (ticket.opens("CA1"), ticket.opens("CA2"), ticket.opens("")) == (True, False, False)
    assert world.tokens.find(world.tokens.issue(Issuer.API)).opens("CA2")


def test_a_call_that_asks_twice_gets_the_same_token_until_it_is_used() -> None:
    world = World()
    token = world.tokens.issue(Issuer.WEBHOOK, "CA1")
    assert world.tokens.issue(Issuer.WEBHOOK, "CA1") == token
    assert world.tokens.issue(Issuer.WEBHOOK, "CA2") != token
    assert (world.tokens.pending, world.tokens.waits_for("CA1"), world.tokens.waits_for("CA3")) == (2, True, False)
    world.tokens.use(token)
    assert (world.tokens.pending, world.tokens.waits_for("CA1")) == (1, False)
    assert world.tokens.issue(Issuer.WEBHOOK, "CA1") != token


def test_the_stream_may_come_to_another_process_with_the_same_key() -> None:
    world = World()
    token = world.tokens.issue(Issuer.WEBHOOK, "CA1")
    assert CallTokens(60.0, b"key", lambda: world.now).find(token) == world.tokens.find(token)
    with pytest.raises(TokenRefused, match="not made by this server"):
        CallTokens(60.0, b"another", lambda: world.now).find(token)


@given(st.text(max_size=80) | st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=60, max_size=60))
def test_r40_nothing_else_is_a_token(text: str) -> None:
    assert World().fault(text) is TokenFault.UNKNOWN


@given(st.integers(0, 59), st.characters(codec="ascii", categories=["L", "N"]))
def test_r40_a_changed_token_is_none(place: int, character: str) -> None:
    world = World()
    token = world.tokens.issue(Issuer.API)
    changed = token[:place] + character + token[place + 1 :]
    assert world.fault(changed) is (None if changed == token else TokenFault.UNKNOWN)


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_voice.server.tokens.REMEMBERED", 2)
    world = World()
    made = [world.tokens.issue(Issuer.API) for _ in range(3)]
    for token in made:
        world.tokens.use(token)
    assert [world.fault(token) for token in made] == [None, TokenFault.USED, TokenFault.USED]
    assert "key" not in repr(world.tokens).replace("_MISSING", "")


def test_r40_of_several_processes_one_uses_a_token(tmp_path: Path) -> None:
    world = World()
    one, two = (CallTokens(60.0, b"key", lambda: world.now, tmp_path / "used") for _ in range(2))
    token, another = one.issue(Issuer.API), one.issue(Issuer.API)
    two.find(token)
    one.find(token)
    two.use(token)
    with pytest.raises(TokenRefused, match="was used before"):
        one.use(token)
    one.use(another)
    assert (tmp_path / "used").stat().st_mode & 0o777 == 0o700


def test_words_of_expired_tokens_are_removed(tmp_path: Path) -> None:
    tokens = CallTokens(60.0, used_folder=tmp_path)
    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", (0, 0))
    (tmp_path / "new").touch()
    tokens.use(tokens.issue(Issuer.API))
    assert not (tmp_path / "old").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_takes_nothing_keeps_no_caller_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tokens = CallTokens(60.0, used_folder=tmp_path / "file" / "folder")
    with structlog.testing.capture_logs() as logs:
        tokens.use(tokens.issue(Issuer.API))
    assert [line["reason"] for line in logs] == ["Not a directory"]
