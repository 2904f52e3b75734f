"""Twilio's REST API, as far as a call needs it: to be ended. Source: Twilio's documentation of the Calls resource.

Closing its stream ends a call too, as long as Twilio can ask us what comes next; this is for when it cannot.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import structlog
import trio
from attrs import define, field

from trio_voice.dialects.base import StreamStarted

log = structlog.get_logger(__name__)

API_URL = "https://api.twilio.com"
TRY_LIMIT_S = 5.0
LIMIT_S = 15.0
"""How long all tries together may take."""
PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Before the tries after the first; each is drawn from the upper half."""
_NOT_FOUND = 404
_TOO_MANY = 429
_SERVER_ERROR = 500
_CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")


@define(eq=False)
class TwilioRest:
    """One account's calls."""

    account_sid: str
    auth_token: str = field(repr=False)
    client: httpx2.AsyncClient

    @classmethod
    @asynccontextmanager
    async def opened(cls, account_sid: str, auth_token: str, url: str = API_URL) -> AsyncIterator[TwilioRest]:
        """Have connections to the API for the time of the block; none is opened before it is needed."""
        limits = httpx2.Limits(max_connections=20, max_keepalive_connections=5)
        async with httpx2.AsyncClient(base_url=url, timeout=TRY_LIMIT_S, limits=limits, follow_redirects=False) as client:
            yield cls(account_sid, auth_token, client)

    async def hang_up(self, started: StreamStarted) -> None:
        """End a call; one that has ended already is no error. What fails for good is logged. It takes at most `LIMIT_S`."""
        if not _CALL_SID.fullmatch(started.call_sid) or started.account_sid not in ("", self.account_sid):
            return  # a test call, or the call of another account
        problem = "it took too long"
        with trio.move_on_after(LIMIT_S):
            problem = await self._try(started.call_sid)
        if problem:
            log.warning("the call could not be ended at the carrier", problem=problem)

    async def _try(self, call_sid: str) -> str:
        """Return what went wrong for good; "" for nothing."""
        path = f"/2010-04-01/Accounts/{self.account_sid}/Calls/{call_sid}.json"
        problem = ""
        for pause_s in (0.0, *PAUSES_S):
            await trio.sleep(pause_s * random.uniform(0.5, 1.0))
            try:
                answer = await self.client.post(path, data={"Status": "completed"}, auth=(self.account_sid, self.auth_token))
            except httpx2.TransportError as error:
                problem = f"Twilio cannot be reached ({type(error).__name__})"
                continue
            if answer.is_success or answer.status_code == _NOT_FOUND:
                return ""
            problem = f"Twilio answered with HTTP status {answer.status_code}"
            if answer.status_code != _TOO_MANY and answer.status_code < _SERVER_ERROR:
                return f"{problem}; check twilio.account_sid and TWILIO_AUTH_TOKEN"
        return problem
