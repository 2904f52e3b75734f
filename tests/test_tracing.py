"""Where traces go: nowhere unless asked, and to a real collector's address where it is."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import structlog

from tests.server.rig import no_threads
from trio_voice.errors import UserError
from trio_voice.server.call_watch import CallFacts
from trio_voice.storage.threads import NO_THREAD
from trio_voice.tracing import traces_to

FACTS = CallFacts("c1", "CA1", "twilio")


async def test_without_an_address_nothing_is_traced() -> None:
    async with traces_to(None, "1.2.3") as watches:
        assert watches == ()


async def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    how = r"-m pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
    with pytest.raises(UserError, match=rf"^server\.traces_url needs OpenTelemetry; install it with: .* {how}$"):
        async with traces_to("http://127.0.0.1:9/v1/traces", "1.2.3"):
            raise AssertionError


async def test_a_server_ends_in_order_when_there_is_no_thread_for_the_last_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `traces` is not installed")
    from opentelemetry.sdk.trace import export

    monkeypatch.setattr(export, "BatchSpanProcessor", export.SimpleSpanProcessor)  # whose thread would stay
    with structlog.testing.capture_logs() as logs, no_threads():
        async with traces_to("http://127.0.0.1:9/v1/traces", "1.2.3"):
            pass
    assert [(line["event"], line["error"]) for line in logs] == [("the last traces could not be delivered", NO_THREAD)]


async def test_r42_the_last_spans_leave_before_the_server_ends() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `traces` is not installed")
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        async with traces_to(f"http://127.0.0.1:{server.server_port}/v1/traces", "1.2.3") as (watch,):
            watch(FACTS).on_end(1.0, "done")
        thread.join(5)
    ((path, spans),) = got
    assert path == "/v1/traces"
    for said in (b"trio-voice", b"1.2.3", b"call.id", b"turn.kind"):
        assert said in spans
    assert not [each for each in threading.enumerate() if each is thread or "Otel" in each.name]
