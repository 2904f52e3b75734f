"""Call tokens for those who have the server's token: the test call, and the console's softphone."""

from __future__ import annotations

import msgspec
from attrs import frozen
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_voice.dialects.registry import DIALECTS, MEDIA_PATH
from trio_voice.server.admission import Admission, EntryFault
from trio_voice.server.tokens import Issuer
from trio_voice.web.access import Access
from trio_voice.web.answers import API_PATH, json_answer


class CallToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that opens one media stream, once."""

    token: str
    expires_in_s: float
    paths: dict[str, str]
    """Where to connect with it, by the dialect's name."""


@frozen(kw_only=True)
class CallTokensApi:
    """The endpoint."""

    access: Access
    admission: Admission

    def routes(self) -> list[Route]:
        """What is served where."""
        return [Route(f"{API_PATH}/call-tokens", self.issue, methods=["POST"])]

    async def issue(self, request: Request) -> Response:
        """Make a token; it takes a call's place until it is used or expires."""
        self.access.check(request)
        fault = EntryFault.DRAINING if self.admission.draining.is_set() else EntryFault.BUSY if self.admission.full else None
        if fault is not None:
            refused = self.admission.refuse(fault)
            raise HTTPException(refused.status, refused.text)
        token = self.admission.tokens.issue(Issuer.API)
        answer = CallToken(
            token=token,
            expires_in_s=self.admission.tokens.limit_s,
            paths={dialect: f"{MEDIA_PATH}{dialect}/{token}" for dialect in DIALECTS},
        )
        return json_answer(answer, status=201)
