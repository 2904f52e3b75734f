"""Call tokens for those who have the server's."""

from __future__ import annotations

import json

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from tests.web.asgi_client import Answer, get
from trio_voice.server.admission import Admission, EntryFault
from trio_voice.server.tokens import Issuer
from trio_voice.web.access import Access
from trio_voice.web.answers import error_answer
from trio_voice.web.call_tokens import CallTokensApi


async def ask(admission: Admission, token: str = "the-token") -> Answer:
    api = CallTokensApi(access=Access("the-token"), admission=admission)
    app = Starlette(routes=api.routes(), exception_handlers={HTTPException: error_answer})
    return await get(app, "/api/v1/call-tokens", {"Authorization": f"Bearer {token}"}, "POST")


async def test_a_token_comes_with_the_paths_that_it_opens() -> None:
    admission = Admission()
    answer = await ask(admission)
    assert answer.status == 201
    told = json.loads(answer.body)
    assert told["expires_in_s"] == 60.0
    assert told["paths"]["twilio"] == f"/media/twilio/{told['token']}"
    assert admission.tokens.find(told["token"]).issuer is Issuer.API


async def test_r40_not_without_the_servers_token() -> None:
    admission = Admission()
    assert (await ask(admission, "other")).status == 401
    assert admission.places_taken == 0


@pytest.mark.parametrize("fault", [EntryFault.BUSY, EntryFault.DRAINING])
async def test_r41_no_token_where_no_call_is_taken(fault: EntryFault) -> None:
    admission = Admission(max_calls=1)
    if fault is EntryFault.BUSY:
        admission.tokens.issue(Issuer.API)
    else:
        admission.draining.set()
    answer = await ask(admission)
    assert (answer.status, json.loads(answer.body)["title"]) == (503, "Service Unavailable")
    assert admission.refusals == {fault: 1}
