"""Who is let in, with which proof, and how many."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest
import trio
import trio.testing
from attrs import define, field

from trio_voice.server.admission import Admission, Admitted, EntryFault, MediaAccess, Proof, Refused
from trio_voice.server.rates import RateLimit
from trio_voice.server.tokens import CallTokens, Issuer
from trio_voice.server.twilio_signature import twilio_signature

PUBLIC = "https://voice.example.com"
HERE = {"host": "127.0.0.1:8080"}


@define
class Door:
    """An admission, and knocks at it."""

    access: MediaAccess = MediaAccess.GUARDED
    auth_tokens: tuple[str, ...] = ("12345",)
    max_calls: int = 0
    per_minute: int = 0
    now: float = 0.0
    counted: list[EntryFault] = field(factory=list)
    admission: Admission = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.admission = Admission(
            max_calls=self.max_calls,
            access=self.access,
            proof=Proof(PUBLIC, self.auth_tokens),
            rate=RateLimit(self.per_minute),
            tokens=CallTokens(60.0, b"key", lambda: self.now),
            on_refusal=self.counted.append,
        )

    def knock(
        self, token: str = "", remote: str = "198.51.100.7:5", headers: Mapping[str, str] | None = None, dialect: str = "twilio"
    ) -> EntryFault | None:
        """Why a stream is not let in; None: it is."""
        target = f"/media/{dialect}" + (f"/{token}" if token else "")
        with self.admission.entry(dialect, target, token, remote, headers or {"host": "voice.example.com"}) as verdict:
            assert isinstance(verdict, Admitted | Refused)
            return verdict.fault if isinstance(verdict, Refused) else None


def signed(target: str, auth_token: str = "12345") -> dict[str, str]:
    return {"host": "voice.example.com", "x-twilio-signature": twilio_signature(auth_token, f"wss://voice.example.com{target}")}


def test_r40_without_a_proof_nobody_is_let_in() -> None:
    assert Door().knock() is EntryFault.NO_PROOF
    assert Door().knock(remote="127.0.0.1:5", headers=HERE) is EntryFault.NO_PROOF


def test_a_client_on_this_machine_needs_none_where_that_is_allowed() -> None:
    door = Door(MediaAccess.LOCAL)
    assert door.knock(remote="127.0.0.1:5", headers=HERE) is None
    assert door.knock(remote="127.0.0.1:5", headers={"host": "abc.ngrok.example"}) is EntryFault.NO_PROOF
    assert door.knock(remote="198.51.100.7:5", headers=HERE) is EntryFault.NO_PROOF
    assert Door(MediaAccess.OPEN).knock() is None


def test_r40_a_token_of_the_api_is_a_proof_once() -> None:
    door = Door()
    token = door.admission.tokens.issue(Issuer.API)
    assert door.knock(token) is None
    assert door.knock(token) is EntryFault.USED_TOKEN
    assert door.knock("made up") is EntryFault.UNKNOWN_TOKEN
    late = door.admission.tokens.issue(Issuer.API)
    door.now = 60.0
    assert door.knock(late) is EntryFault.EXPIRED_TOKEN


def test_r40_a_token_that_is_shown_must_be_right_even_where_none_is_needed() -> None:
    assert Door(MediaAccess.OPEN).knock("made up") is EntryFault.UNKNOWN_TOKEN


def test_r40_a_webhooks_token_needs_the_carriers_signature_and_is_not_lost_without_it() -> None:
    door = Door()
    token = door.admission.tokens.issue(Issuer.WEBHOOK, "CA1")
    target = f"/media/twilio/{token}"
    assert door.knock(token) is EntryFault.NO_SIGNATURE
    assert door.knock(token, headers=signed(target, "other")) is EntryFault.WRONG_SIGNATURE
    assert door.knock(token, headers=signed("/media/twilio")) is EntryFault.WRONG_SIGNATURE
    assert door.knock(token, headers=signed(target)) is None
    assert door.knock(token, headers=signed(target)) is EntryFault.USED_TOKEN


def test_a_webhooks_token_is_enough_where_signatures_cannot_be_checked() -> None:
    door = Door(auth_tokens=())
    assert door.knock(door.admission.tokens.issue(Issuer.WEBHOOK, "CA1")) is None


def test_r40_a_signature_alone_is_a_proof_of_the_carrier_that_signs() -> None:
    assert Door().knock(headers=signed("/media/twilio")) is None
    assert Door().knock(headers=signed("/media/twilio", "other")) is EntryFault.WRONG_SIGNATURE
    assert Door(auth_tokens=()).knock(headers=signed("/media/twilio")) is EntryFault.NO_PROOF
    assert Door().knock(headers=signed("/media/telnyx"), dialect="telnyx") is EntryFault.NO_PROOF


def test_r40_another_sites_page_is_refused_even_where_everybody_is_let_in() -> None:
    headers = {"host": "127.0.0.1:8080", "origin": "https://evil.example"}
    assert Door(MediaAccess.OPEN).knock(headers=headers) is EntryFault.FOREIGN_PAGE


@pytest.mark.parametrize("origin", ["https://evil.example", "http://["])
async def test_r40_another_sites_page_tries_only_so_often(autojump_clock: trio.testing.MockClock, origin: str) -> None:
    door, headers = Door(MediaAccess.OPEN, per_minute=1), {"host": "voice.example.com", "origin": origin}
    assert [door.knock(headers=headers) for _ in range(2)] == [EntryFault.FOREIGN_PAGE, EntryFault.TOO_OFTEN]
    assert door.counted == [EntryFault.FOREIGN_PAGE, EntryFault.TOO_OFTEN]


def test_r41_a_place_is_taken_before_the_stream_is_accepted_and_given_back_at_its_end() -> None:
    door = Door(MediaAccess.OPEN, max_calls=2)
    enter = partial(door.admission.entry, "twilio", "/media/twilio", "", "unknown", {})
    with enter() as one, enter() as two:
        assert isinstance(one, Admitted)
        assert isinstance(two, Admitted)
        with enter() as three:
            assert isinstance(three, Refused)
            assert (three.status, three.text) == (503, "all lines are busy; call again later (2 calls at once)")
            assert door.admission.places_taken == 2
    assert door.admission.places_taken == 0
    assert door.knock() is None
    assert door.counted == [EntryFault.BUSY]


def test_r41_a_token_holds_a_place_until_it_is_used_or_expires() -> None:
    door = Door(MediaAccess.OPEN, max_calls=1)
    token = door.admission.tokens.issue(Issuer.API)
    assert door.admission.places_taken == 1
    assert door.knock() is EntryFault.BUSY
    assert door.knock(token) is None
    assert door.admission.places_taken == 0
    door.admission.tokens.issue(Issuer.API)
    assert door.knock() is EntryFault.BUSY
    door.now = 60.0
    assert door.knock() is None


def test_r41_who_drains_takes_nobody() -> None:
    door = Door(MediaAccess.OPEN)
    door.admission.draining.set()
    assert door.knock() is EntryFault.DRAINING


async def test_r40_one_address_tries_only_so_often_and_this_machine_as_often_as_it_likes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    door = Door(MediaAccess.OPEN, per_minute=2)
    assert [door.knock() for _ in range(3)] == [None, None, EntryFault.TOO_OFTEN]
    assert door.knock(remote="198.51.100.8:5") is None
    assert {door.knock(remote="127.0.0.1:5", headers=HERE) for _ in range(9)} == {None}
    tunnel = HERE | {"x-forwarded-for": "198.51.100.9"}
    assert [door.knock(remote="127.0.0.1:5", headers=tunnel) for _ in range(3)] == [None, None, EntryFault.TOO_OFTEN]


async def test_r40_who_shows_a_proof_is_not_counted_and_who_shows_a_wrong_one_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    door = Door(per_minute=2)
    tokens = [door.admission.tokens.issue(Issuer.API) for _ in range(5)]
    assert [door.knock(token) for token in tokens] == [None] * 5
    assert [door.knock("made up") for _ in range(3)] == [EntryFault.UNKNOWN_TOKEN] * 2 + [EntryFault.TOO_OFTEN]
    assert door.knock(door.admission.tokens.issue(Issuer.API)) is None


def test_what_became_of_calls_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_voice.server.admission.REMEMBERED_CALLS", 2)
    admission = Admission()
    for call_sid in ("CA1", "CA2", "CA3"):
        admission.note_answered(call_sid)
    assert [admission.was_answered(each) for each in ("CA1", "CA2", "CA3", "CA4")] == [False, True, True, False]


def test_secrets_are_not_in_what_is_printed() -> None:
    assert "12345" not in repr(Door().admission)
    assert Admission().refusals == {}


@pytest.mark.parametrize("fault", EntryFault)
def test_every_refusal_has_a_status_and_a_sentence(fault: EntryFault) -> None:
    refused = Admission().refuse(fault)
    assert refused.status in (403, 409, 429, 503)
    assert len(refused.text) > 20
