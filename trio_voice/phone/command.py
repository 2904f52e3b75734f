"""`python -m trio_voice call`: place a test call, watch it, and keep what the caller heard."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import click
import msgspec
import trio
from attrs import define, evolve, field

from trio_voice.errors import UserError
from trio_voice.phone.caller import Headers, PhoneCall
from trio_voice.phone.carrier import Identity
from trio_voice.phone.conversation import (
    conversation,
    recorded_interruption,
    recorded_sentences,
    sentences_from_files,
    synthetic_interruption,
    synthetic_sentences,
)
from trio_voice.phone.display import Display
from trio_voice.phone.feed import UnreachableError, call_events
from trio_voice.phone.finding import Server, find_server, media_url_with_token, server_at, started_server
from trio_voice.phone.results import summary, write_results
from trio_voice.phone.scenario import Scenario
from trio_voice.phone.speech import SpeechUnavailableError, get_prompts, speech_folder
from trio_voice.phone.verdict import NOT_JUDGED, why_failed
from trio_voice.phone.webhook import Carrier, Twiml
from trio_voice.storage.screen import PipedConsole

_FEED_LIMIT_S = 5.0
"""How long the feed and the journal may go on after the call."""
_LOOK_EVERY_S = 0.05
_SHOWN_AFTER_S = 0.7
"""Lines are shown so late: the caller knows only after 0.6 s of silence when the agent fell silent."""
_CLOCKS_AGREE_S = 1.0
"""A journal that began longer after the answer was begun by another clock."""
_INTERRUPTED = 130


@click.command()
@click.option(
    "--url", help="Media URL to call (ws://, wss://) or a server's page. Default: the server that runs here, else one of its own."
)
@click.option(
    "--wav", "wavs", type=click.Path(path_type=Path), multiple=True, help="A WAV file to speak; may be repeated, one a turn."
)
@click.option("--barge-in-at", type=click.FloatRange(min=0), metavar="S", help="Speak S seconds into the agent's first answer.")
@click.option("--hang-up-at", type=click.FloatRange(min=0), metavar="S", help="Hang up S seconds after the call was answered.")
@click.option("--dtmf", default="", metavar="KEYS", help="Press these keys (0-9 * # A-D) after the greeting.")
@click.option(
    "--webhook",
    metavar="URL",
    help="Ring as Twilio does: post this webhook, signed with TWILIO_AUTH_TOKEN, and follow its TwiML.",
)
@click.option("--via", metavar="URL", help="With --webhook: connect to this server instead, e.g. http://127.0.0.1:8080.")
@click.option(
    "--calls-folder", type=click.Path(path_type=Path), default=Path("calls"), show_default=True, help="Where calls are kept."
)
def call(
    url: str | None,
    wavs: tuple[Path, ...],
    barge_in_at: float | None,
    hang_up_at: float | None,
    dtmf: str,
    webhook: str | None,
    via: str | None,
    calls_folder: Path,
) -> None:
    """Place a test call and watch it.

    The caller listens to the greeting, says a sentence, listens to the answer, and so on, and says goodbye. What happens is shown
    as it happens; what the caller heard, the call's journal and a picture of the call are kept in a folder of the call's own.

    Exit code 0: a good call. 1: it failed, and the last line says why: the line was lost, the caller heard an apology or was not
    answered, the server failed or broke the carrier's protocol. 2: no call came about. A server elsewhere is judged by the line
    alone, and the last line says so.
    """
    display = Display(PipedConsole(highlight=False, markup=False, emoji=False))
    scenario = _scenario(display, wavs, barge_in_at, hang_up_at, dtmf)
    errand = _Errand(display, scenario, url, calls_folder, _carrier(webhook, via))
    trio.run(errand.run)
    raise click.exceptions.Exit(_conclude(errand))


def _carrier(webhook: str | None, via: str | None) -> Carrier | None:
    if webhook is None:
        if via is not None:
            raise UserError("--via goes with --webhook: give the webhook's URL too")
        return None
    return Carrier(webhook_url=webhook, via=via, auth_token=(os.environ.get("TWILIO_AUTH_TOKEN") or "").split(" ")[0] or None)


def _scenario(
    display: Display, wavs: tuple[Path, ...], barge_in_at: float | None, hang_up_at: float | None, dtmf: str
) -> Scenario:
    if set(dtmf) - set("0123456789*#ABCD"):
        raise UserError(f"--dtmf {dtmf}: a telephone has the keys 0 to 9, * and # (and A to D)")
    if wavs:
        sentences = sentences_from_files(wavs)
        interruption = sentences.pop(1) if barge_in_at is not None and len(sentences) > 1 else sentences[0]
    else:
        try:
            prompts = get_prompts(speech_folder(), display.say)
            sentences, interruption = recorded_sentences(prompts), recorded_interruption(prompts)
        except SpeechUnavailableError as error:
            display.say(f"No recorded speech here ({error}): the caller is synthetic. --wav FILE speaks any recording.")
            sentences, interruption = synthetic_sentences(), synthetic_interruption()
    return conversation(sentences, interruption=interruption, barge_in_at_s=barge_in_at, digits=dtmf, hang_up_at_s=hang_up_at)


@define(eq=False)
class _Errand:
    """Find or start a server, place the call, show it; `call` is None until one comes about."""

    display: Display
    scenario: Scenario
    url: str | None
    calls_folder: Path
    carrier: Carrier | None = None
    """Rings first; None: the stream is opened at once."""
    call: PhoneCall | None = field(default=None, init=False)
    journal: list[str] = field(factory=list, init=False)
    _servers_folder: Path | None = field(default=None, init=False)

    @property
    def folder(self) -> Path:
        """Where the call is kept: beside its journal, if the server runs here."""
        assert self.call is not None
        return (self._servers_folder or self.calls_folder) / (_call_id(self.journal) or self.call.carrier.identity.call_sid)

    async def run(self) -> None:
        """Do it; Ctrl-C (or SIGTERM) hangs up, a second one breaks off."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, signals, nursery.cancel_scope)
                async with AsyncExitStack() as stack:
                    await self._place(await self._server(stack))
                nursery.cancel_scope.cancel()

    async def _obey(self, signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
        await anext(signals)
        if self.call is not None and self.call.ending is None:
            self.display.say("Hanging up.")
            self.call.hang_up()
            await anext(signals)
        everything.cancel()

    async def _server(self, stack: AsyncExitStack) -> Server:
        if self.url is not None:
            return await server_at(self.url, self.calls_folder)
        if self.carrier is not None:
            page = self.carrier.via or self.carrier.webhook_url
            return await find_server(self.calls_folder) or Server(page, page)
        if server := await find_server(self.calls_folder):
            return server
        self.display.say("No server runs here: starting one for this call ...")
        return await stack.enter_async_context(started_server(self.calls_folder))

    async def _place(self, server: Server) -> None:
        self._servers_folder = server.calls_folder
        if self.carrier is not None:
            await self._ring(server, self.carrier)
        else:
            self.display.say(f"Calling {server.media_url}")
            await self._call(server, await media_url_with_token(server) if server.gives_tokens else server.media_url)
        if server.calls_folder is not None and _call_id(self.journal) is not None:
            await _closed_journal(self.folder / "call.jsonl")

    async def _ring(self, server: Server, carrier: Carrier) -> None:
        """Let the carrier ring: its webhook says where the call goes, and what becomes of it afterwards."""
        self.display.say(f"Ringing {carrier.webhook_url}")
        twiml = await carrier.ring()
        self._show_twiml(twiml)
        if twiml.stream is None:
            raise UserError(f"the call was not connected: the webhook {'; '.join(twiml.said) or 'answers with nothing'}")
        stream = twiml.stream
        await carrier.report(stream, "stream-started")
        identity, media_url = evolve(carrier.identity, parameters=stream.parameters), carrier.media_url(stream)
        self.display.say(f"Calling {media_url.rpartition('/')[0]}/...")
        await self._call(server, media_url, identity, carrier.upgrade_headers(stream))
        await carrier.report(stream, "stream-stopped")
        assert self.call is not None
        self._show_twiml(await carrier.after(stream, duration_s=self.call.carrier.heard_s))

    def _show_twiml(self, twiml: Twiml) -> None:
        for text in twiml.said:
            self.display.say(f"The carrier {text}")

    async def _call(self, server: Server, media_url: str, identity: Identity | None = None, headers: Headers = ()) -> None:
        place = PhoneCall.place(media_url, self.scenario, identity=identity, headers=headers)
        async with place as self.call, trio.open_nursery() as screen:
            screen.start_soon(self._show_in_order, self.call)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._show_line, self.call)
                nursery.start_soon(self._bounded_feed, server, self.call)
            screen.cancel_scope.cancel()
        self.display.show_until(math.inf)

    async def _show_in_order(self, call: PhoneCall) -> None:
        """Show what has happened, so late that nothing older is still to come."""
        while True:
            await trio.sleep(_LOOK_EVERY_S)
            if call.answered is not None:
                self.display.show_until(trio.current_time() - call.carrier.answered_at - _SHOWN_AFTER_S)

    async def _show_line(self, call: PhoneCall) -> None:
        async for event in call.events():
            self.display.line_event(event)

    async def _bounded_feed(self, server: Server, call: PhoneCall) -> None:
        """Follow the feed to its end, which comes soon after the call's."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._show_feed, server, call)
            await call.finished()
            nursery.cancel_scope.deadline = trio.current_time() + _FEED_LIMIT_S

    async def _show_feed(self, server: Server, call: PhoneCall) -> None:
        if server.token is None:
            file = self.calls_folder / "server.json"
            self.display.say(
                f"Only the line is shown: for the rest the server's token is needed, and {file} is not that server's; "
                "if it runs on this machine, name its calls folder with --calls-folder."
            )
            return
        try:
            async with call_events(server.url, server.token, call.carrier.identity.call_sid) as feed:
                async for line in feed.lines():
                    self.journal.append(line)
                    if len(self.journal) == 1:
                        self.display.align(_journal_began_s(self.journal, call.answered))
                    self.display.journal_line(line)
        except UnreachableError as error:
            self.display.say(f"The server's view of the call is not to be had: {error}.")


def _header(journal: list[str]) -> dict[str, object]:
    """Read the journal's first line; empty: there is none that can be read."""
    try:
        header = msgspec.json.decode(journal[0]) if journal else None
    except msgspec.DecodeError:
        return {}
    return header if isinstance(header, dict) else {}


def _call_id(journal: list[str]) -> str | None:
    """Read the call's id from the journal's header."""
    call_id = _header(journal).get("call_id")
    return None if call_id is None else str(call_id)


def _journal_began_s(journal: list[str], answered: datetime | None) -> float:
    """How long after the answer the server began the call's journal, by the clock of the machine that both run on."""
    try:
        began = datetime.fromisoformat(str(_header(journal).get("started_at")))
    except ValueError:
        return 0.0
    if answered is None or began.tzinfo is None:
        return 0.0
    later_s = (began - answered).total_seconds()
    return later_s if 0 <= later_s <= _CLOCKS_AGREE_S else 0.0


async def _closed_journal(path: Path) -> None:
    """Wait until the server has written the journal's last line (it writes in the background), within a bound."""
    with trio.move_on_after(_FEED_LIMIT_S):
        while True:
            try:
                if '"command":"Close"' in (await trio.Path(path).read_text("utf-8", "replace"))[-2000:]:
                    return
            except OSError:
                return
            await trio.sleep(_LOOK_EVERY_S)


def _conclude(errand: _Errand) -> int:
    call, display = errand.call, errand.display
    if call is None or call.ending is None:
        return _INTERRUPTED
    display.say("")
    for line in summary(call):
        display.say(line)
    paths, failures = write_results(call, errand.folder, errand.journal)
    for failure in failures:
        display.say(failure)
    display.say("Wrote " + ", ".join([str(paths[0]), *(path.name for path in paths[1:])]))
    journal = _journal_lines(errand)
    why = why_failed(call, journal)
    if why is not None:
        display.say(f"FAILED: {why}")
    elif not journal:
        display.say(NOT_JUDGED)
    return 0 if why is None else 1


def _journal_lines(errand: _Errand) -> list[str]:
    """The whole journal, where it is at hand: the feed leaves single audio frames out."""
    try:
        return (errand.folder / "call.jsonl").read_text("utf-8", "replace").splitlines()
    except OSError:
        return errand.journal
