"""Who may come in, as the settings say; the defaults are safe."""

from __future__ import annotations

import pytest
import trio

from trio_voice.config import Settings
from trio_voice.credentials import Credentials
from trio_voice.entrance import carrier_hang_up, make_admission, media_access, warnings
from trio_voice.sections import MediaAccess as Wanted
from trio_voice.sections import ServerSettings, TwilioSettings
from trio_voice.server.admission import MediaAccess
from trio_voice.server.tokens import Issuer

TWILIO = Credentials(twilio_account_sid="AC" + "0" * 32, twilio_auth_tokens=("12345", "67890"))
PUBLIC = "https://voice.example.com/"


def settings(credentials: Credentials | None = None, **server: object) -> Settings:
    return Settings(
        server=ServerSettings(**server),  # type: ignore[arg-type] # - keywords of it
        twilio=TwilioSettings(api_url="https://api.example.com"),
        credentials=credentials or Credentials(),
    )


@pytest.mark.parametrize(
    ("host", "public_url", "wanted", "access"),
    [
        ("127.0.0.1", None, Wanted.AUTO, MediaAccess.LOCAL),
        ("localhost", None, Wanted.AUTO, MediaAccess.LOCAL),
        ("::1", None, Wanted.AUTO, MediaAccess.LOCAL),
        ("127.0.0.1", PUBLIC, Wanted.AUTO, MediaAccess.GUARDED),
        ("0.0.0.0", None, Wanted.AUTO, MediaAccess.GUARDED),
        ("192.0.2.1", None, Wanted.AUTO, MediaAccess.GUARDED),
        ("0.0.0.0", PUBLIC, Wanted.OPEN, MediaAccess.OPEN),
        ("127.0.0.1", PUBLIC, Wanted.LOCAL, MediaAccess.LOCAL),
        ("127.0.0.1", None, Wanted.GUARDED, MediaAccess.GUARDED),
    ],
)
def test_r40_what_can_be_reached_from_outside_is_guarded_unless_its_owner_says_otherwise(
    host: str, public_url: str | None, wanted: Wanted, access: MediaAccess
) -> None:
    assert media_access(settings(host=host, public_url=public_url, media_access=wanted)) is access


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (settings(), []),
        (settings(TWILIO, public_url=PUBLIC), []),
        (settings(host="0.0.0.0"), ["no carrier can call: set server.public_url"]),
        (settings(public_url=PUBLIC), ["Twilio's webhooks are refused: set TWILIO_AUTH_TOKEN"]),
        (settings(TWILIO), ["Twilio's webhooks are refused: set server.public_url"]),
        (settings(host="0.0.0.0", media_access=Wanted.OPEN), ["server.media_access is open"]),
    ],
)
def test_r40_what_is_left_open_or_cannot_work_is_said_at_the_start(given: Settings, says: list[str]) -> None:
    found = list(warnings(given))
    assert [sentence[: len(begins)] for sentence, begins in zip(found, says, strict=True)] == says


def test_the_doorkeeper_is_as_the_settings_say() -> None:
    draining = trio.Event()
    given = settings(TWILIO, public_url=PUBLIC, max_calls=7, calls_per_minute=9, call_token_limit_s=30)
    admission = make_admission(given, api_token="t", draining=draining)
    assert (admission.max_calls, admission.rate.per_minute, admission.tokens.limit_s) == (7, 9, 30.0)
    assert (admission.proof.public_url, admission.proof.auth_tokens) == ("https://voice.example.com", ("12345", "67890"))
    assert admission.draining is draining
    token = admission.tokens.issue(Issuer.API)
    assert make_admission(given, api_token="t", draining=draining).tokens.find(token).opens("CA1")


async def test_calls_are_ended_at_twilio_where_there_is_an_account() -> None:
    async with carrier_hang_up(settings(TWILIO)) as hang_up:
        assert hang_up is not None
    for credentials in (Credentials(), Credentials(twilio_auth_tokens=("1",)), Credentials(twilio_account_sid="AC1")):
        async with carrier_hang_up(settings(credentials)) as hang_up:
            assert hang_up is None
