"""The console's doors: who gets in, with what, and what is served to them."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import frozen
from starlette.types import ASGIApp

from tests.server.rig import no_threads
from tests.web.asgi_client import Answer, get
from tests.web.test_app import ABOUT, TOKEN, live
from tests.web.test_console_past import write_journal
from trio_voice.core.commands import Refusal
from trio_voice.server.directory import CallDirectory
from trio_voice.storage.journal import COMMANDS, EVENTS
from trio_voice.web.access import COOKIE
from trio_voice.web.app import Dependencies, create_app
from trio_voice.web.console import FILES, ConsolePlan
from trio_voice.web.headers import SECURITY_HEADERS
from trio_voice.web.past_calls import PastCallsFailedError, PastCallsQuery

WITH_COOKIE = {"Cookie": f"{COOKIE}=the-token"}
LOCAL = {"Host": "localhost:8080"}


@frozen
class Records:
    """Records that can be read, or cannot."""

    rows: list[dict[str, Any]] | None

    async def listed(self, query: PastCallsQuery) -> list[dict[str, Any]]:
        if self.rows is None:
            raise PastCallsFailedError("the disk is full")
        return self.rows

    async def found(self, name: str) -> None:
        raise AssertionError("nobody asks for it")


def app_with(
    folder: Path,
    *,
    is_local: bool = False,
    directory: CallDirectory | None = None,
    console: bool = True,
    records: Records | None = None,
) -> ASGIApp:
    plan = ConsolePlan(calls_folder=folder, settings={"server": {"port": {"value": 8080}}}, is_local=is_local)
    return create_app(
        Dependencies(
            about=ABOUT,
            directory=CallDirectory() if directory is None else directory,
            token="the-token",
            draining=trio.Event(),
            console=plan if console else None,
            past_calls=records,
        )
    )


def is_console(answer: Answer) -> bool:
    return b"/console/files/app.js" in answer.body


def cookie(answer: Answer) -> str:
    return answer.headers.get("set-cookie", "")


# --- coming in ---------------------------------------------------------------------------------------------------------


async def test_r40_the_address_with_the_token_sets_a_cookie_that_scripts_and_other_sites_cannot_use(tmp_path: Path) -> None:
    answer = await get(app_with(tmp_path), "/?token=the-token")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert cookie(answer).startswith(f"{COOKIE}=the-token; ")
    assert {"httponly", "samesite=strict"} <= {part.strip().casefold() for part in cookie(answer).split(";")}


async def test_the_cookie_opens_the_console(tmp_path: Path) -> None:
    answer = await get(app_with(tmp_path), "/", WITH_COOKIE)
    assert is_console(answer)
    assert cookie(answer) == ""


@pytest.mark.parametrize("path", ["/", "/?token=wrong", "/?token=", "/?token=%C3%A4"])
@pytest.mark.parametrize("headers", [{}, {"Cookie": f"{COOKIE}=wrong"}, TOKEN])
async def test_others_see_the_start_page_and_get_no_cookie(tmp_path: Path, path: str, headers: dict[str, str]) -> None:
    answer = await get(app_with(tmp_path), path, headers)
    assert answer.status == 200
    assert not is_console(answer)
    assert cookie(answer) == ""
    assert b"<section>\n    <h2>Console</h2>" in answer.body


async def test_without_a_console_the_start_page_offers_none(tmp_path: Path) -> None:
    app = app_with(tmp_path, console=False)
    answer = await get(app, "/?token=the-token", WITH_COOKIE)
    assert b"<section hidden>\n    <h2>Console</h2>" in answer.body
    assert (await get(app, "/console/facts", TOKEN)).status == 404


async def test_the_start_page_exchanges_the_token_for_the_cookie_and_signing_out_takes_it_back(tmp_path: Path) -> None:
    app = app_with(tmp_path)
    assert (await get(app, "/console/session", {"Authorization": "Bearer wrong"}, "POST")).status == 401
    answer = await get(app, "/console/session", TOKEN, "POST")
    assert (answer.status, cookie(answer).partition(";")[0]) == (204, f"{COOKIE}=the-token")
    answer = await get(app, "/console/session", TOKEN, "DELETE")
    assert (answer.status, cookie(answer).partition(";")[0]) == (204, f'{COOKIE}=""')


@pytest.mark.parametrize(
    ("client", "headers", "gets_in"),
    [
        ("127.0.0.1", {"Host": "localhost:8080"}, True),
        ("::1", {"Host": "[::1]:8080"}, True),
        ("127.0.0.1", {"Host": "rebound.example.com:8080"}, False),
        ("127.0.0.1", {"Host": "localhost:8080", "X-Forwarded-For": "198.51.100.7"}, False),
        ("192.0.2.7", {"Host": "localhost:8080"}, False),
    ],
)
async def test_r40_open_to_this_machine_means_neither_a_tunnel_nor_a_name_that_was_bent_to_point_here(
    tmp_path: Path, client: str, headers: dict[str, str], gets_in: bool
) -> None:
    answer = await get(app_with(tmp_path, is_local=True), "/", headers, client=client)
    assert is_console(answer) is gets_in
    assert (COOKIE in cookie(answer)) is gets_in


async def test_by_default_this_machine_needs_the_token_too(tmp_path: Path) -> None:
    assert not is_console(await get(app_with(tmp_path), "/", LOCAL, client="127.0.0.1"))


# --- what is served ----------------------------------------------------------------------------------------------------

PATHS = ["facts", "feed", "calls", "calls/c1", "calls/c1/recording", "calls/c1/replay"]


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_told_without_the_token(tmp_path: Path, path: str) -> None:
    answer = await get(app_with(tmp_path), f"/console/{path}")
    assert answer.status == 401


async def test_r40_another_sites_page_can_make_the_browser_do_nothing(tmp_path: Path) -> None:
    directory, call = CallDirectory(), live()
    app = app_with(tmp_path, directory=directory)
    forged = WITH_COOKIE | {"Host": "localhost:8080", "Origin": "https://evil.example.com", "Content-Type": "application/json"}
    with directory.registered(call):
        for path, method in [
            ("/api/v1/calls/c1/hang-up", "POST"),
            ("/api/v1/call-tokens", "POST"),
            ("/console/session", "DELETE"),
        ]:
            assert (await get(app, path, forged, method, b"{}")).status == 403


async def test_the_facts_tell_what_runs_and_what_is_in_force(tmp_path: Path) -> None:
    answer = await get(app_with(tmp_path), "/console/facts", WITH_COOKIE)
    facts = json.loads(answer.body)
    assert (facts["agent"], facts["version"], facts["media_urls"]) == (ABOUT.agent, ABOUT.version, list(ABOUT.media_urls))
    assert facts["settings"] == {"server": {"port": {"value": 8080}}}


async def test_the_page_may_hear_the_microphone_and_play_recordings_and_run_no_script_but_its_own(tmp_path: Path) -> None:
    headers = (await get(app_with(tmp_path), "/", WITH_COOKIE)).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["media-src"]) == ("'none'", "'self'", "'self'")
    assert (policy["frame-ancestors"], policy["style-src"]) == ("'none'", "'self'")
    assert "microphone=(self)" in headers["permissions-policy"]
    assert "microphone=()" in SECURITY_HEADERS["Permissions-Policy"], "no other page may"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", FILES)
async def test_its_files_are_served_and_import_only_one_another(tmp_path: Path, name: str) -> None:
    answer = await get(app_with(tmp_path), f"/console/files/{name}")
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, FILES[name])
    text = answer.body.decode()
    assert set(re.findall(r'from "\./([^"]+)"', text)) <= set(FILES)
    assert not re.search(
        r"(innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://(?!www\.w3\.org/2000/svg)\w)", text
    )


def test_every_file_of_the_folder_is_known() -> None:
    names = {path.name for path in files("trio_voice.web").joinpath("static", "console").iterdir()}
    assert names == set(FILES) | {"console.html"}


SILENT = frozenset(
    {
        *("CallerAudio", "ModelAudio", "AppendAudio", "PlayAudio"),  # single frames
        *("SendMark", "PlaybackMarked", "ItemAdded", "ModelAudioEnded", "ItemTruncated"),  # the wire's bookkeeping
        *("OpenSession", "UpdateSession", "CloseSession"),  # what came of them is told
        *("RunTool", "ToolStarted", "SendToolResult", "AddText", "SendDigits", "ReportChange"),  # what they answer is told
    }
)
"""What the console's story passes over."""


def test_the_story_tells_of_every_event_command_and_reason() -> None:
    story = files("trio_voice.web").joinpath("static", "console", "story.js").read_text("utf-8")
    told = set(re.findall(r"^  (\w+)(?::|\()", story, re.MULTILINE))
    assert {name for name in {*EVENTS, *COMMANDS} if name not in told} == SILENT
    reasons = story[story.index("REASONS = {") : story.index("};")]
    assert re.findall(r"^  (\w+):", reasons, re.MULTILINE) == [reason.value for reason in Refusal]


@pytest.mark.parametrize("name", ["console.html", "..%2Fstart.html", "nothing.js"])
async def test_other_files_are_not_served(tmp_path: Path, name: str) -> None:
    assert (await get(app_with(tmp_path), f"/console/files/{name}")).status == 404


async def ask(folder: Path, path: str, **headers: str) -> tuple[int, Any]:
    answer = await get(app_with(folder), f"/console/{path}", WITH_COOKIE | headers)
    return answer.status, json.loads(answer.body) if answer.headers["content-type"] == "application/json" else answer.body


async def test_past_calls_are_listed_shown_and_replayed(tmp_path: Path) -> None:
    write_journal(tmp_path)
    status, listed = await ask(tmp_path, "calls?search=appointment")
    assert (status, [call["call_id"] for call in listed["calls"]]) == (200, ["c1"])
    assert (await ask(tmp_path, "calls?search=nowhere"))[1]["calls"] == []
    assert (await ask(tmp_path, f"calls?search={'x' * 201}"))[0] == 400
    status, shown = await ask(tmp_path, "calls/c1")
    assert (status, shown["digest"]["call_id"], shown["lines"][0]["journal"]) == (200, "c1", 1)
    status, replayed = await ask(tmp_path, "calls/c1/replay")
    assert (status, replayed["verdict"]) == (200, "different")


async def test_records_tell_who_called(tmp_path: Path) -> None:
    write_journal(tmp_path)
    rows = [{"call_id": "c1", "caller": "+15550105310"}]

    async def listed(records: Records | None, search: str = "") -> list[tuple[str | None, str | None]]:
        answer = await get(app_with(tmp_path, records=records), f"/console/calls?search={search}", WITH_COOKIE)
        return [(call["caller"], call["outcome"]) for call in json.loads(answer.body)["calls"]]

    assert await listed(Records(rows)) == [("…5310", "caller_hung_up")]
    assert await listed(Records(rows), "5310+hung+up") == [("…5310", "caller_hung_up")]
    assert await listed(Records(rows), "555") == [], "what is masked cannot be found out by searching"
    assert await listed(None) == await listed(Records(None)) == [(None, "caller_hung_up")], "how it ended the journal tells"


@pytest.mark.parametrize(
    "path", ["calls/c2", "calls/c1/recording", "calls/c2/replay", "calls/..%2Fc1", "calls/..", "calls/.c1/replay"]
)
async def test_what_is_not_there_is_not_found(tmp_path: Path, path: str) -> None:
    write_journal(tmp_path)
    assert (await ask(tmp_path, path))[0] == 404


@pytest.mark.parametrize("path", ["calls", "calls/c1", "calls/c1/recording", "calls/c1/replay"])
async def test_what_no_thread_is_there_to_read_is_503_and_says_so(tmp_path: Path, path: str) -> None:
    write_journal(tmp_path)
    (tmp_path / "c1" / "call.wav").write_bytes(b"RIFF-and-so-on")
    with no_threads():
        status, said = await ask(tmp_path, path)
    assert (status, said) == (503, b"past calls cannot be read now (the system gives this process no more threads); ask again\n")
    assert (await ask(tmp_path, path))[0] == 200


async def test_a_recording_is_played_in_parts(tmp_path: Path) -> None:
    write_journal(tmp_path)
    (tmp_path / "c1" / "call.wav").write_bytes(b"RIFF-and-so-on")
    assert await ask(tmp_path, "calls/c1/recording") == (200, b"RIFF-and-so-on")
    assert await ask(tmp_path, "calls/c1/recording", Range="bytes=5-7") == (206, b"and")
