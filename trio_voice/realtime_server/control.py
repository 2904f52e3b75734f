"""The control call: switches and faults while the server runs, over HTTP with JSON bodies.

    GET   /control/switches                  the switches of sessions to come
    PATCH /control/switches                  set some of them; {"stragglers": 2}
    GET   /control/sessions                  the sessions that run
    PATCH /control/sessions/ID/switches      set some of a running session's
    POST  /control/sessions/ID/close         {"code": 1011}; 1006 ends it without CLOSE
    POST  /control/sessions/ID/reset         end the TCP connection by RST
    POST  /control/sessions/ID/silence       half-open: nothing is read or written any more
    POST  /control/sessions/ID/event         send this server event, whatever it is; {"type": "…"}

Where the server expects a key, so does this. Without one, a JSON content type is asked for, which no foreign web page can send
without the browser asking first (and being refused).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from attrs import define

from trio_voice.errors import ConfigError
from trio_voice.realtime_server.admission import Upgrade, key_is
from trio_voice.realtime_server.connection import Connection
from trio_voice.realtime_server.events import DropConnection, FallSilent, SendEvent
from trio_voice.realtime_server.faults import closing
from trio_voice.realtime_server.http_head import Head, response
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.switches import Switches

_PREFIX = "/control/"


class Controlled(Protocol):
    """The server's part that can be controlled."""

    switches: Switches
    sessions: dict[str, Connection]


@define
class Control:
    """Answers control calls; what it changes takes effect at once."""

    server: Controlled
    api_key: str | None

    def answer(self, head: Head, upgrade: Upgrade, body: bytes) -> bytes:
        """Return the HTTP response."""
        if self.api_key is not None and not key_is(upgrade, self.api_key):
            return response(401, "Unauthorized", {"error": "give the server's key as Authorization: Bearer"})
        if head.method != "GET" and not head.headers.get("content-type", "").startswith("application/json"):
            return response(415, "Unsupported Media Type", {"error": "send JSON, with Content-Type: application/json"})
        try:
            given = msgspec.json.decode(body) if body else {}
        except msgspec.DecodeError as error:
            return response(400, "Bad Request", {"error": f"the body is no JSON: {error}"})
        if not isinstance(given, dict):
            return response(400, "Bad Request", {"error": "the body must be a JSON object"})
        try:
            found = self._do(head.method, upgrade.path.removeprefix(_PREFIX).split("/"), given)
        except (ConfigError, ValueError) as error:
            return response(400, "Bad Request", {"error": str(error)})
        if found is None:
            return response(404, "Not Found", {"error": "no such control call, or no such session"})
        return response(200, "OK", found)

    def _do(self, method: str, path: list[str], given: dict[str, Any]) -> Any:
        match method, path:
            case "GET", ["switches"]:
                return msgspec.to_builtins(self.server.switches)
            case "PATCH", ["switches"]:
                self.server.switches = self.server.switches.changed(given, "control")
                return msgspec.to_builtins(self.server.switches)
            case "GET", ["sessions"]:
                return [_describe(each) for each in self.server.sessions.values()]
            case _, ["sessions", session_id, action] if session_id in self.server.sessions:
                return self._act(method, action, self.server.sessions[session_id], given)
        return None

    def _act(self, method: str, action: str, connection: Connection, given: Mapping[str, Any]) -> Any:
        match method, action:
            case "PATCH", "switches":
                behaviour = connection.session.behaviour
                behaviour.change(behaviour.switches.changed(given, "control"))
                connection.set_alarm()
            case "POST", "close":
                code = given.get("code", 1000)
                if not isinstance(code, int) or not 1000 <= code <= 4999:
                    raise ValueError("code must be a whole number from 1000 to 4999")
                for output in closing(code, Identifiers(random.Random())):
                    connection.act(output)
            case "POST", "reset":
                connection.act(DropConnection(reset=True))
            case "POST", "silence":
                connection.act(FallSilent())
            case "POST", "event":
                connection.act(SendEvent({"type": "", "event_id": Identifiers(random.Random()).new("event"), **given}))
            case _:
                return None
        return _describe(connection)


def _describe(connection: Connection) -> dict[str, Any]:
    session = connection.session
    return {"id": session.id, "model": session.model, "switches": msgspec.to_builtins(session.behaviour.switches)}
