"""The signature that Twilio puts on webhooks and on the upgrade of a media stream. Source: Twilio's documentation of webhooks.

The signed text is the whole public URL as it was configured there (the query untouched), followed, for a form that is posted, by
each name and its value, sorted, without separators; of a name that comes twice, each distinct value once. The signature is the
base64 of its HMAC-SHA1 under the account's auth token. On a media stream's upgrade there is no form, and the scheme is wss.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

HEADER = "x-twilio-signature"
_PORTS = {"https": 443, "http": 80, "wss": 443, "ws": 80}

Pairs = Iterable[tuple[str, str]]
"""A form's names and values, decoded, blank values kept."""


def twilio_signature(auth_token: str, url: str, form: Pairs = ()) -> str:
    """Sign a request as Twilio does."""
    values: dict[str, set[str]] = {}
    for name, value in form:
        values.setdefault(name, set()).add(value)
    text = url + "".join(name + value for name in sorted(values) for value in sorted(values[name]))
    return b64encode(hmac.digest(auth_token.encode(), text.encode("utf-8", "surrogatepass"), "sha1")).decode("ascii")


def is_signed(signature: str, auth_tokens: Iterable[str], url: str, form: Pairs = ()) -> bool:
    """Tell whether one of the tokens made the signature; there are two while an account's token is replaced.

    Twilio signs sometimes with the scheme's own port and sometimes without, so either is right.
    """
    pairs = list(form)
    shown = signature.encode("utf-8", "replace")
    right = [twilio_signature(token, each, pairs).encode() for token in auth_tokens for each in _with_and_without_port(url)]
    return sum(hmac.compare_digest(shown, each) for each in right) > 0  # all are compared: the time taken tells nothing


def _with_and_without_port(url: str) -> Iterator[str]:
    yield url
    parts = urlsplit(url)
    own = _PORTS.get(parts.scheme)
    suffix = f":{own}"
    if parts.netloc.endswith(suffix):
        yield parts._replace(netloc=parts.netloc.removesuffix(suffix)).geturl()
    elif own is not None and not parts.netloc.rpartition("]")[2].count(":"):
        yield parts._replace(netloc=f"{parts.netloc}{suffix}").geturl()
