"""What the doctor looks at: every finding says what is so, and, where it is wrong, what to do."""

from __future__ import annotations

import errno
import resource
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import trio
import trio.testing
from attrs import evolve

from tests.server.certificate_files import HOST, pair_in
from trio_voice import checks as module
from trio_voice.checks import Checks, Finding, Verdict, as_facts, exit_code
from trio_voice.config import ModelAccess, Settings
from trio_voice.credentials import Credentials
from trio_voice.recording.settings import RecordingSettings
from trio_voice.records.address import file_address
from trio_voice.records.database import Database
from trio_voice.records.settings import RecordsSettings
from trio_voice.sections import ModelSettings, ServerSettings, VoiceEngine
from trio_voice.server.websocket import ConnectFailed, SocketClosed

TWILIO = Credentials(twilio_account_sid="AC" + "0" * 28 + "abcd", twilio_auth_tokens=("the-auth-token",))
Answers = Callable[[httpx2.Request], httpx2.Response]


def settings(
    folder: Path = Path("/"),
    *,
    access: str | None = None,
    credentials: Credentials | None = None,
    recording: RecordingSettings | None = None,
    model: ModelSettings | None = None,
    **server: Any,
) -> Settings:
    return Settings(
        server=ServerSettings(calls_folder=folder, **server),
        model=model or ModelSettings(voice=VoiceEngine.TONES),
        recording=recording or RecordingSettings(),
        access=ModelAccess(base_url=access, api_key="sk-the-key"),
        credentials=credentials or Credentials(),
    )


def nobody(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("nobody there")


def checks(given: Settings, answers: Answers = nobody, now: float = 1_000_000.0) -> Checks:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answers))
    return Checks(given, client, lambda: now)


def healthy(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, json={"status": "ok"}, headers={"Date": formatdate(1_000_000.0, usegmt=True)})


async def test_with_the_defaults_nothing_is_wrong(tmp_path: Path) -> None:
    findings = await checks(settings(tmp_path / "new" / "calls", port=0)).run()
    assert [finding.topic for finding in findings] == [
        "settings", "TLS", "calls folder", "disk", "records", "recordings", "port", "open files", "entrance", "model",
        "public URL", "Twilio", "traces", "clock",
    ]  # fmt: skip
    assert {finding.verdict for finding in findings} == {Verdict.OK, Verdict.NOTE}
    assert exit_code(findings) == 0
    assert not (tmp_path / "new").exists()


def test_one_wrong_thing_is_exit_code_1() -> None:
    findings = [Finding("a", Verdict.OK, "fine"), Finding("b", Verdict.WRONG, "broken; mend it")]
    assert exit_code(findings) == 1
    assert as_facts(findings)[1] == {"topic": "b", "verdict": "wrong", "text": "broken; mend it"}


# --- this machine ------------------------------------------------------------------------------------------------------


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    found = await checks(settings(file / "calls")).calls_folder()
    assert (found.verdict, found.text) == (
        Verdict.WRONG,
        f"{file} cannot be written by this user; give another with server.calls_folder",
    )


@pytest.mark.parametrize(("free", "verdict"), [(1024**3, Verdict.OK), (1024**3 - 1, Verdict.WRONG)])
async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free))
    assert (await checks(settings(tmp_path)).disk()).verdict is verdict


async def test_our_own_certificate(tmp_path: Path) -> None:
    assert (await checks(settings()).tls()).text.startswith("none of ours")

    async def found(*, days: int = 60, begins_in_days: int = -30, public_url: str | None = None) -> Finding:
        pair = pair_in(tmp_path, days=days, begins_in_days=begins_in_days)
        own = settings(tls_certificate_file=pair.certificate, tls_key_file=pair.key, public_url=public_url)
        return await checks(own).tls()

    good = await found()
    assert good.verdict is Verdict.OK
    assert good.text.startswith(f"a certificate for {HOST}, until 20")
    assert (await found(days=3)).verdict is Verdict.NOTE
    elsewhere = await found(public_url="https://other.example/")
    assert (elsewhere.verdict, "and not for other.example (server.public_url)" in elsewhere.text) == (Verdict.NOTE, True)
    assert (await found(public_url=f"https://{HOST}:8443")).verdict is Verdict.OK
    assert (await found(days=-3)).verdict is Verdict.WRONG
    assert (await found(begins_in_days=3)).verdict is Verdict.WRONG
    wrong = await checks(settings(tls_certificate_file=tmp_path / "gone")).tls()
    assert (wrong.verdict, "the file cannot be read" in wrong.text) == (Verdict.WRONG, True)


async def test_a_server_of_ours_is_known_by_its_certificate(tmp_path: Path) -> None:
    pair, other = pair_in(tmp_path), pair_in(tmp_path, "other.example")

    async def healthy(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, healthy, [trio.SSLListener(listener, context)])
        port = listener.socket.getsockname()[1]
        ours = await checks(settings(port=port, tls_certificate_file=pair.certificate)).port()
        theirs = await checks(settings(port=port, tls_certificate_file=other.certificate)).port()
        nursery.cancel_scope.cancel()
    assert (ours.verdict, ours.text) == (Verdict.OK, f"a trio-voice answers on 127.0.0.1 port {port}")
    assert theirs.verdict is Verdict.WRONG


@pytest.mark.parametrize(
    ("recording", "hours"),
    [
        (RecordingSettings(), 284),
        (RecordingSettings(enabled=True), 70),
        (RecordingSettings(enabled=True, folder=Path("/r")), 284),
    ],
)
async def test_how_many_hours_of_calls_a_disk_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: RecordingSettings, hours: int
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * 1024**3))
    found = await checks(settings(tmp_path, recording=recording)).disk()
    assert found.text == f"10.0 GiB free at {tmp_path}: about {hours} hours of calls"


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (healthy, "a trio-voice answers on 127.0.0.1 port "),
        (nobody, "is taken by another program; set another server.port"),
    ],
)
async def test_a_port_that_is_taken(answers: Answers, says: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = await checks(settings(port=taken.getsockname()[1]), answers).port()
    assert says in found.text
    assert (found.verdict is Verdict.WRONG) is (answers is nobody)


def with_records(folder: Path, url: str | None = None, *, enabled: bool = True) -> Settings:
    return evolve(settings(folder), records=RecordsSettings(url=url, enabled=enabled))


async def test_records_that_are_there_are_not_yet_there_or_are_not_wanted(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    with trio.fail_after(30):
        found = await checks(with_records(tmp_path)).records()
        assert found == Finding("records", Verdict.OK, f"{path}: its tables are made at the next start")
        assert not path.exists()
        Database(file_address(path)).open()
        assert await checks(with_records(tmp_path)).records() == Finding("records", Verdict.OK, f"{path} can be read")
        found = await checks(with_records(tmp_path, enabled=False)).records()
        assert found == Finding("records", Verdict.OK, "none (records.enabled is false)")


async def test_records_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "calls.db").write_bytes(b"no database, but long enough to look at " * 50)
    with trio.fail_after(30):
        found = await checks(with_records(tmp_path)).records()
        assert (found.verdict, "file is not a database" in found.text) == (Verdict.WRONG, True)
        found = await checks(with_records(tmp_path, "mysql://tom:hunter2@db/x")).records()
        assert (found.verdict, "(mysql) that is not known" in found.text) == (Verdict.WRONG, True)
        assert "hunter2" not in found.text


async def test_records_that_do_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked, released = threading.Event(), threading.Event()
    monkeypatch.setattr(module, "RECORDS_LIMIT_S", 0.05)

    def hang(_database: Database) -> None:
        asked.set()
        released.wait(10)

    monkeypatch.setattr(Database, "check", hang)
    try:
        with trio.fail_after(5):
            found = await checks(with_records(tmp_path)).records()
    finally:
        released.set()
    assert asked.is_set()
    assert found == Finding("records", Verdict.WRONG, f"{tmp_path}/calls.db does not answer; {module._CALLS_WAIT}")


async def test_recordings_that_are_not_wanted_or_can_be_made(tmp_path: Path) -> None:
    found = await checks(settings(tmp_path)).recordings()
    assert found == Finding("recordings", Verdict.OK, "none (recording.enabled = true records calls)")
    folder = tmp_path / "new"
    found = await checks(settings(folder, recording=RecordingSettings(enabled=True))).recordings()
    assert found == Finding("recordings", Verdict.OK, f"{folder}/{{call_id}}/recording.wav")
    assert not await trio.Path(folder).exists()


async def test_recordings_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recording = RecordingSettings(enabled=True, folder=tmp_path / "file" / "recordings")
    found = await checks(settings(tmp_path, recording=recording)).recordings()
    assert found.verdict is Verdict.WRONG
    assert found.text == f"{tmp_path / 'file'} cannot be written by this user; give another with recording.folder"


@pytest.mark.parametrize(
    ("recording", "says"),
    [
        (RecordingSettings(pictures=True), "recording.pictures needs matplotlib; install it with: "),
        (RecordingSettings(enabled=True, s3_url="s3://my-bucket"), "recording.s3_url needs boto3; install it with: "),
    ],
)
async def test_what_recordings_need_and_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recording: RecordingSettings, says: str
) -> None:
    monkeypatch.setattr("trio_voice.recording.pictures.find_spec", lambda _: None)
    monkeypatch.setattr("trio_voice.recording.uploads.find_spec", lambda _: None)
    found = await checks(settings(tmp_path, recording=recording)).recordings()
    assert (found.verdict, found.text.startswith(says)) == (Verdict.WRONG, True)


@pytest.mark.parametrize(
    ("answers", "verdict", "says"),
    [
        (lambda _: httpx2.Response(403), Verdict.OK, "uploaded to s3://my-bucket"),
        (nobody, Verdict.WRONG, "https://s3.example cannot be reached (nobody there); check recording.s3_endpoint"),
    ],
)
async def test_the_store_of_a_bucket(tmp_path: Path, answers: Answers, verdict: Verdict, says: str) -> None:
    pytest.importorskip("boto3", reason="the extra `s3` is not installed")
    recording = RecordingSettings(enabled=True, s3_url="s3://my-bucket", s3_endpoint="https://s3.example")
    found = await checks(settings(tmp_path, recording=recording), answers).recordings()
    assert (found.verdict, says in found.text) == (verdict, True)


async def test_a_host_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> list[object]:
        raise errors.pop()

    monkeypatch.setattr(trio, "open_tcp_listeners", fails)
    errors: list[OSError] = [socket.gaierror("x")]
    found = await checks(settings(host="nowhere.invalid")).port()
    assert (found.verdict, "cannot be resolved; set server.host" in found.text) == (Verdict.WRONG, True)
    errors = [OSError(errno.EACCES, "x")]
    assert "cannot listen on 127.0.0.1 port 80 (Permission denied)" in (await checks(settings(port=80)).port()).text


@pytest.mark.parametrize(("limit", "verdict"), [(2099, Verdict.WRONG), (2100, Verdict.OK), (resource.RLIM_INFINITY, Verdict.OK)])
async def test_too_few_open_files(monkeypatch: pytest.MonkeyPatch, limit: int, verdict: Verdict) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, limit))
    assert (await checks(settings(max_calls=500)).open_files()).verdict is verdict


async def test_the_entrance() -> None:
    assert (await checks(settings(host="0.0.0.0")).entrance()).verdict is Verdict.NOTE
    both = settings(credentials=TWILIO, public_url="https://voice.example.com")
    assert (await checks(both).entrance()).text == "calls need a call token or the carrier's signature"


# --- the model ---------------------------------------------------------------------------------------------------------


class Session:
    """A model's session that says something, nothing, or goodbye."""

    def __init__(self, says: str | Exception | None) -> None:
        self.says = says

    async def receive(self) -> str:
        if self.says is None:
            await trio.sleep_forever()
        if isinstance(self.says, Exception):
            raise self.says
        return str(self.says)


@pytest.mark.parametrize(
    ("session", "verdict", "says"),
    [
        (Session("{}"), Verdict.OK, "gpt-realtime-2.1 opened a session"),
        (Session(None), Verdict.WRONG, "said nothing within 8 s; check model.url and the network"),
        (Session(SocketClosed(4000, "no such model")), Verdict.WRONG, "closes at once (4000 no such model); check model.name"),
        (ConnectFailed("no", status=401), Verdict.WRONG, "the model refuses the key; set the right one"),
        (ConnectFailed("cannot connect to wss://m"), Verdict.WRONG, "cannot connect to wss://m; check model.url and the network"),
    ],
)
async def test_the_model_and_its_key(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    session: Session | ConnectFailed,
    verdict: Verdict,
    says: str,
) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    @asynccontextmanager
    async def opened(url: str, headers: dict[str, str]) -> Any:
        seen.append((url, headers))
        if isinstance(session, ConnectFailed):
            raise session
        yield session

    monkeypatch.setattr(module, "open_websocket", opened)
    found = await checks(settings(access="wss://model.example/v1")).model()
    assert (found.verdict, says in found.text) == (verdict, True)
    assert seen == [("wss://model.example/v1/realtime?model=gpt-realtime-2.1", {"Authorization": "Bearer sk-the-key"})]
    assert "sk-the-key" not in found.text


async def test_the_embedded_model_is_started_and_ended() -> None:
    found = await checks(settings(model=ModelSettings(voice=VoiceEngine.TONES))).model()
    assert found.verdict is Verdict.OK
    assert found.text == "embedded: no key and no network needed; tones stand for speech, as the settings ask"


async def test_an_embedded_model_that_would_not_start(tmp_path: Path) -> None:
    found = await checks(settings(model=ModelSettings(script=tmp_path / "nowhere.toml"))).model()
    assert (found.verdict, "nowhere.toml: cannot be read" in found.text) == (Verdict.WRONG, True)


# --- carriers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "answers", "verdict", "says"),
    [
        ("https://v.example", healthy, Verdict.OK, "https://v.example reaches a trio-voice"),
        ("http://v.example", healthy, Verdict.WRONG, "is not https: carriers stream to wss:// only"),
        ("https://v.example", nobody, Verdict.WRONG, "cannot be reached (nobody there); start the tunnel or the proxy"),
        ("https://v.example", lambda _: httpx2.Response(404), Verdict.WRONG, "status 404, and not as a trio-voice does"),
        ("https://v.example", lambda _: httpx2.Response(200, html="x"), Verdict.WRONG, "not as a trio-voice does"),
    ],
)
async def test_the_public_url(url: str, answers: Answers, verdict: Verdict, says: str) -> None:
    found = await checks(settings(public_url=url), answers).public_url()
    assert (found.verdict, says in found.text) == (verdict, True)


@pytest.mark.parametrize(
    ("credentials", "status", "verdict", "says"),
    [
        (TWILIO, 200, Verdict.OK, "the account …abcd and its token are right"),
        (TWILIO, 401, Verdict.WRONG, "Twilio refuses the account or its token"),
        (TWILIO, 404, Verdict.WRONG, "Twilio refuses the account or its token"),
        (TWILIO, 500, Verdict.WRONG, "HTTP status 500; try again later"),
        (TWILIO, 0, Verdict.WRONG, "cannot be reached (nobody there); check the network"),
        (Credentials(twilio_auth_tokens=("t",)), 200, Verdict.NOTE, "no account (TWILIO_ACCOUNT_SID not set)"),
        (Credentials(twilio_account_sid="AC1"), 200, Verdict.NOTE, "no account (TWILIO_AUTH_TOKEN not set)"),
    ],
)
async def test_the_twilio_account(credentials: Credentials, status: int, verdict: Verdict, says: str) -> None:
    asked: list[httpx2.Request] = []

    def answers(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(status) if status else nobody(request)

    found = await checks(settings(credentials=credentials), answers).twilio()
    assert (found.verdict, says in found.text) == (verdict, True)
    assert "the-auth-token" not in found.text
    if credentials is TWILIO:
        assert asked[0].headers["authorization"].startswith("Basic ")
        assert asked[0].url.path == f"/2010-04-01/Accounts/{TWILIO.twilio_account_sid}.json"


async def test_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await checks(settings()).traces()).text == "none (server.traces_url sends them)"
    url = "http://traces.example/v1/traces"
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `traces` is not installed")
    found = await checks(settings(traces_url=url), lambda _: httpx2.Response(405)).traces()
    assert found == Finding("traces", Verdict.OK, f"something answers at {url}")
    found = await checks(settings(traces_url=url)).traces()
    assert found == Finding("traces", Verdict.WRONG, f"{url} cannot be reached (nobody there); until then traces are lost")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    found = await checks(settings(traces_url=url)).traces()
    assert (found.verdict, "needs OpenTelemetry; install it with: " in found.text) == (Verdict.WRONG, True)


@pytest.mark.parametrize(
    ("now", "verdict", "says"),
    [
        (1_000_000.0, Verdict.OK, "within 1 s of others"),
        (1_000_030.0, Verdict.OK, "within 30 s of others"),
        (1_000_031.0, Verdict.WRONG, "this machine's clock is 31 s ahead; let it be set by NTP"),
        (999_900.0, Verdict.WRONG, "this machine's clock is 100 s behind"),
    ],
)
async def test_the_clock_is_compared_with_those_that_answer(now: float, verdict: Verdict, says: str) -> None:
    made = checks(settings(public_url="https://v.example"), healthy, now)
    assert made.clock().text == "not compared: no other machine was asked"
    await made.public_url()
    assert (made.clock().verdict, says in made.clock().text) == (verdict, True)


async def test_a_page_that_does_not_come_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def silent(request: httpx2.Request) -> httpx2.Response:
        await trio.sleep_forever()
        raise AssertionError

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(silent))
    found = await Checks(settings(public_url="https://v.example"), client).public_url()
    assert "(no answer within 8 s)" in found.text
    assert trio.current_time() == 8.0
