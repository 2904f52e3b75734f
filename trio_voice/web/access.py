"""Who may see and do what: the token of this server, as a bearer token, or in the cookie that the console's page is given."""

from __future__ import annotations

import secrets

from attrs import field, frozen
from starlette.exceptions import HTTPException
from starlette.requests import Request

from trio_voice.server.clients import is_our_origin

COOKIE = "trio_voice_token"
"""The cookie that carries the token in a browser (HttpOnly, SameSite=Strict)."""
_READING = frozenset({"GET", "HEAD"})


@frozen
class Access:
    """Lets in whoever shows the token."""

    token: str = field(repr=False)

    def check(self, request: Request) -> None:
        """Raise HTTPException 401 without the right token, 403 for what another site's page has a browser do."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_right(shown.strip()):
            return
        if self.is_right(request.cookies.get(COOKIE, "")):
            if request.method not in _READING and not _is_of_our_page(request):
                raise HTTPException(403, "this was asked for by the page of another site; use this server's own page")
            return
        raise HTTPException(
            401,
            "give the token of this server: Authorization: Bearer <token>",
            headers={"WWW-Authenticate": 'Bearer realm="trio-voice"'},
        )

    def is_right(self, shown: str) -> bool:
        """Compare a token that somebody shows, in constant time."""
        return secrets.compare_digest(shown.encode(), self.token.encode())


def _is_of_our_page(request: Request) -> bool:
    """Browsers name the page that asks in `Origin`; cookies alone do not tell whose wish it is."""
    return is_our_origin(request.headers.get("origin", ""), request.headers)
