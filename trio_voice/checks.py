"""What `trio-voice doctor` looks at. Each check tells what it found and, where something is wrong, what to do about it."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from enum import Enum
from pathlib import Path

import httpx2
import trio
from attrs import define, field, frozen

from trio_voice.config import Settings
from trio_voice.embedded_model import start_embedded_model
from trio_voice.entrance import media_access, server_certificate
from trio_voice.entrance import warnings as entrance_warnings
from trio_voice.errors import ConfigError, UserError
from trio_voice.keeping import recordings_folder, recordings_in_words, records_address, records_in_words
from trio_voice.realtime.providers import session_url, upgrade_headers
from trio_voice.realtime_server.server import first_user_error
from trio_voice.recording.pictures import check_pictures
from trio_voice.recording.uploads import check_uploads
from trio_voice.records.database import Database, DatabaseFailedError, NewerSchemaError
from trio_voice.server.admission import MediaAccess
from trio_voice.server.certificates import trusting
from trio_voice.server.websocket import ConnectFailed, SocketClosed, open_websocket
from trio_voice.tracing import check_traces

NETWORK_LIMIT_S = 8.0
CLOCK_LIMIT_S = 30.0
"""Beyond it certificates and signatures with a time in them begin to fail."""
FREE_BYTES = 1024**3
JOURNAL_BYTES_PER_HOUR = 36 * 1024**2
"""What a call's journal takes on disk, about."""
RECORDING_BYTES_PER_HOUR = 3600 * 8000 * 4
"""Two channels of 16 bits at 8000 Hz."""
FILES_PER_CALL = 4
RECORDS_LIMIT_S = 8.0
_CALLS_WAIT = "calls are answered all the same, and recorded when it can be used again"
_NOT_FOUND = 404
_UNAUTHORIZED = 401
_OK = 200


class Verdict(Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """It works, but its owner may want to know."""
    WRONG = "WRONG"


@frozen
class Finding:
    """What a check found: about what, how it ended, and a sentence (with the fix, if something is wrong)."""

    topic: str
    verdict: Verdict
    text: str


@define(eq=False)
class Checks:
    """The checks of one set of settings. `client` fetches pages; `now` is the time of day in seconds."""

    settings: Settings
    client: httpx2.AsyncClient
    now: Callable[[], float] = time.time
    _dates: list[str] = field(factory=list, init=False)
    """What other machines say that the time is."""

    async def run(self) -> list[Finding]:
        """Make them all; those that need the network at the same time."""
        findings: dict[int, Finding] = {}
        checks = (
            self.settings_file, self.tls, self.calls_folder, self.disk, self.records, self.recordings, self.port, self.open_files,
            self.entrance, self.model, self.public_url, self.twilio, self.traces,
        )  # fmt: skip

        async def make(number: int, check: Callable[[], Awaitable[Finding]]) -> None:
            findings[number] = await check()

        async with trio.open_nursery() as nursery:
            for number, check in enumerate(checks):
                nursery.start_soon(make, number, check)
        return [*(findings[number] for number in sorted(findings)), self.clock()]

    # --- this machine

    async def settings_file(self) -> Finding:
        """Which settings are in force; that they are right was found out when they were read."""
        file, agent = self.settings.file, self.settings.agent_file
        text = f"{file}" if file else "the defaults (no trio-voice.toml here)"
        return Finding("settings", Verdict.OK, f"{text}; agent {self.settings.agent.name}{f' from {agent}' if agent else ''}")

    async def tls(self) -> Finding:
        """Whether our own certificate can be used."""
        try:
            certificate = server_certificate(self.settings)
        except ConfigError as error:
            return Finding("TLS", Verdict.WRONG, str(error))
        if certificate is None:
            return Finding("TLS", Verdict.OK, "none of ours: it is the business of a proxy or a tunnel")
        facts = certificate.facts
        if facts is None:
            return Finding("TLS", Verdict.NOTE, f"the certificate in {certificate.certificate_file} can be used, but not read")
        problem = certificate.problem
        if problem is None:
            return Finding("TLS", Verdict.OK, f"a certificate {facts}")
        is_good = facts.not_before <= certificate.now() < facts.not_after
        return Finding("TLS", Verdict.NOTE if is_good else Verdict.WRONG, problem)

    async def calls_folder(self) -> Finding:
        """Whether calls can be kept."""
        folder = self.settings.server.calls_folder
        if (obstacle := _obstacle(folder)) is None:
            return Finding("calls folder", Verdict.OK, f"{folder} can be written")
        return Finding(
            "calls folder", Verdict.WRONG, f"{obstacle} cannot be written by this user; give another with server.calls_folder"
        )

    async def disk(self) -> Finding:
        """Whether there is room for calls."""
        folder = self.settings.server.calls_folder
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        is_recorded = self.settings.recording.enabled and recordings_folder(self.settings) == self.settings.server.calls_folder
        per_hour = JOURNAL_BYTES_PER_HOUR + (RECORDING_BYTES_PER_HOUR if is_recorded else 0)
        text = f"{free / 1024**3:.1f} GiB free at {folder}: about {free // per_hour} hours of calls"
        if free < FREE_BYTES:
            return Finding("disk", Verdict.WRONG, f"only {text}; remove old calls, or give another server.calls_folder")
        return Finding("disk", Verdict.OK, text)

    async def records(self) -> Finding:
        """Whether the records' database can be used; nothing is made."""
        if not self.settings.records.enabled:
            return Finding("records", Verdict.OK, records_in_words(self.settings))
        try:
            where = records_in_words(self.settings)
        except ConfigError as error:
            return Finding("records", Verdict.WRONG, str(error))
        with trio.move_on_after(RECORDS_LIMIT_S):
            return await trio.to_thread.run_sync(self._records, abandon_on_cancel=True)
        return Finding("records", Verdict.WRONG, f"{where} does not answer; {_CALLS_WAIT}")

    def _records(self) -> Finding:
        database = Database(records_address(self.settings), reads_only=True)
        try:
            database.check()
        except NewerSchemaError as error:
            return Finding("records", Verdict.WRONG, str(error))
        except DatabaseFailedError as error:
            return Finding("records", Verdict.WRONG, f"{database.address} cannot be used ({error}); {_CALLS_WAIT}")
        except UserError:
            return Finding("records", Verdict.OK, f"{database.address}: its tables are made at the next start")
        finally:
            database.close()
        return Finding("records", Verdict.OK, f"{database.address} can be read")

    async def recordings(self) -> Finding:
        """Whether recordings and pictures can be made, and the bucket's store be reached. Nothing is uploaded."""
        recording, folder = self.settings.recording, recordings_folder(self.settings)
        try:
            if recording.pictures:
                check_pictures()
            if recording.enabled and recording.s3_url is not None:
                check_uploads()
        except ConfigError as error:
            return Finding("recordings", Verdict.WRONG, str(error))
        if recording.enabled and (obstacle := _obstacle(folder)) is not None:
            text = f"{obstacle} cannot be written by this user; give another with recording.folder"
            return Finding("recordings", Verdict.WRONG, text)
        if recording.enabled and recording.s3_endpoint is not None:
            answer = await self._fetch(recording.s3_endpoint)
            if isinstance(answer, str):
                text = f"{recording.s3_endpoint} cannot be reached ({answer}); check recording.s3_endpoint and the network"
                return Finding("recordings", Verdict.WRONG, text)
        return Finding("recordings", Verdict.OK, recordings_in_words(self.settings))

    async def port(self) -> Finding:
        """Whether the server can listen, or does so already."""
        host, port = self.settings.server.host, self.settings.server.port
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except socket.gaierror:
            return Finding(
                "port", Verdict.WRONG, f"the host {host!r} cannot be resolved; set server.host to 127.0.0.1 or 0.0.0.0"
            )
        except OSError as error:
            return await self._taken(host, port, error)
        for listener in listeners:
            await listener.aclose()
        return Finding("port", Verdict.OK, f"{host} port {port} is free")

    async def _taken(self, host: str, port: int, error: OSError) -> Finding:
        if error.errno == errno.EADDRINUSE:
            own = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared with
            answer = await self._ask_our_own(f"{f'[{own}]' if ':' in own else own}:{port}")
            if isinstance(answer, httpx2.Response) and answer.status_code == _OK:
                return Finding("port", Verdict.OK, f"a trio-voice answers on {host} port {port}")
            return Finding("port", Verdict.WRONG, f"{host} port {port} is taken by another program; set another server.port")
        reason = os.strerror(error.errno) if error.errno else str(error)
        return Finding("port", Verdict.WRONG, f"cannot listen on {host} port {port} ({reason}); set server.host or server.port")

    async def _ask_our_own(self, address: str) -> httpx2.Response | str:
        """Ask whoever has our port whether it is well: with TLS nobody but who has our certificate, by whatever name."""
        certificate = self.settings.server.tls_certificate_file
        if certificate is None:
            return await self._fetch(f"http://{address}/healthz")
        try:
            context = trusting(certificate)
        except (OSError, ssl.SSLError) as error:
            return str(error)
        async with httpx2.AsyncClient(verify=context, follow_redirects=False) as client:
            return await self._fetch(f"https://{address}/healthz", client=client)

    async def open_files(self) -> Finding:
        """Whether the system lets the process have as many connections as it may have calls."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        wanted = self.settings.server.max_calls * FILES_PER_CALL + 100
        if limit != resource.RLIM_INFINITY and limit < wanted:
            text = f"at most {limit} open files, {wanted} wanted for server.max_calls = {self.settings.server.max_calls}"
            return Finding(
                "open files", Verdict.WRONG, f"{text}; raise LimitNOFILE (systemd) or ulimit -n, or lower server.max_calls"
            )
        return Finding("open files", Verdict.OK, f"enough for {self.settings.server.max_calls} calls")

    async def entrance(self) -> Finding:
        """Who may call."""
        found = list(entrance_warnings(self.settings))
        if found:
            return Finding("entrance", Verdict.NOTE, "; ".join(found))
        who = {
            MediaAccess.LOCAL: "only this machine can call (server.public_url and TWILIO_AUTH_TOKEN open it to a carrier)",
            MediaAccess.GUARDED: "calls need a call token or the carrier's signature",
            MediaAccess.OPEN: "everybody can call",
        }
        return Finding("entrance", Verdict.OK, who[media_access(self.settings)])

    # --- others

    async def model(self) -> Finding:
        """Whether the model opens a session with our key; the embedded one is started and ended."""
        access, name = self.settings.access, self.settings.model.name
        if access.base_url is None:
            return await self._embedded_model()
        url = session_url(access.base_url, name)
        with trio.move_on_after(NETWORK_LIMIT_S):
            try:
                async with open_websocket(url, upgrade_headers(access.api_key)) as session:
                    await session.receive()
            except ConnectFailed as failed:
                if failed.status == _UNAUTHORIZED:
                    text = "the model refuses the key; set the right one (OPENAI_API_KEY, TRIO_VOICE_MODEL_API_KEY)"
                    return Finding("model", Verdict.WRONG, text)
                return Finding("model", Verdict.WRONG, f"{failed}; check model.url and the network")
            except SocketClosed as closed:
                return Finding(
                    "model", Verdict.WRONG, f"the model closes at once ({closed.code} {closed.reason}); check model.name"
                )
            return Finding("model", Verdict.OK, f"{name} opened a session")
        return Finding(
            "model", Verdict.WRONG, f"{name} said nothing within {NETWORK_LIMIT_S:g} s; check model.url and the network"
        )

    async def _embedded_model(self) -> Finding:
        voice: list[str] = []
        problem: UserError | None = None
        try:
            async with trio.open_nursery() as nursery:
                await start_embedded_model(nursery, self.settings.model, voice.append)
                nursery.cancel_scope.cancel()
        except* UserError as group:
            problem = first_user_error(group)
        if problem is not None:
            return Finding("model", Verdict.WRONG, str(problem))
        return Finding("model", Verdict.OK, f"embedded: no key and no network needed; {voice[0]}")

    async def public_url(self) -> Finding:
        """Whether the world reaches this server, as far as this machine can tell."""
        url = self.settings.server.public_url
        if url is None:
            return Finding("public URL", Verdict.OK, "none is set: no carrier is expected")
        if not url.startswith("https://"):
            return Finding("public URL", Verdict.WRONG, f"{url} is not https: carriers stream to wss:// only; put TLS before it")
        answer = await self._fetch(f"{url.rstrip('/')}/healthz")
        if isinstance(answer, str):
            return Finding("public URL", Verdict.WRONG, f"{url} cannot be reached ({answer}); start the tunnel or the proxy")
        if answer.status_code == _OK and answer.headers.get("content-type", "").startswith("application/json"):
            return Finding("public URL", Verdict.OK, f"{url} reaches a trio-voice")
        text = f"{url}/healthz answers with HTTP status {answer.status_code}, and not as a trio-voice does"
        return Finding("public URL", Verdict.WRONG, f"{text}; start the server, and let the tunnel or the proxy lead to it")

    async def twilio(self) -> Finding:
        """Whether Twilio knows the account and its token."""
        credentials, url = self.settings.credentials, self.settings.twilio.api_url
        account, tokens = credentials.twilio_account_sid, credentials.twilio_auth_tokens
        if not tokens or account is None:
            missing = " and ".join(
                name for name, there in (("TWILIO_ACCOUNT_SID", account), ("TWILIO_AUTH_TOKEN", tokens)) if not there
            )
            return Finding("Twilio", Verdict.NOTE, f"no account ({missing} not set): test calls work, telephone calls do not")
        answer = await self._fetch(f"{url}/2010-04-01/Accounts/{account}.json", (account, tokens[0]))
        if isinstance(answer, str):
            return Finding("Twilio", Verdict.WRONG, f"{url} cannot be reached ({answer}); check the network")
        if answer.status_code == _OK:
            return Finding("Twilio", Verdict.OK, f"the account …{account[-4:]} and its token are right")
        if answer.status_code in (_UNAUTHORIZED, _NOT_FOUND):
            return Finding("Twilio", Verdict.WRONG, "Twilio refuses the account or its token; copy both again from its console")
        return Finding("Twilio", Verdict.WRONG, f"Twilio answers with HTTP status {answer.status_code}; try again later")

    async def traces(self) -> Finding:
        """Whether a collector listens where traces go."""
        url = self.settings.server.traces_url
        if url is None:
            return Finding("traces", Verdict.OK, "none (server.traces_url sends them)")
        try:
            check_traces()
        except UserError as error:
            return Finding("traces", Verdict.WRONG, str(error))
        answer = await self._fetch(url)
        if isinstance(answer, str):
            return Finding("traces", Verdict.WRONG, f"{url} cannot be reached ({answer}); until then traces are lost")
        return Finding("traces", Verdict.OK, f"something answers at {url}")

    def clock(self) -> Finding:
        """Whether this machine's clock agrees with those that have answered."""
        differences = []
        for date in self._dates:
            try:
                differences.append(self.now() - parsedate_to_datetime(date).timestamp())
            except ValueError:
                continue
        if not differences:
            return Finding("clock", Verdict.OK, "not compared: no other machine was asked")
        off_s = min(differences, key=abs)
        if abs(off_s) > CLOCK_LIMIT_S:
            text = f"this machine's clock is {abs(off_s):.0f} s {'ahead' if off_s > 0 else 'behind'}; let it be set by NTP"
            return Finding("clock", Verdict.WRONG, text)
        return Finding("clock", Verdict.OK, f"within {max(1, round(abs(off_s)))} s of others")

    async def _fetch(
        self, url: str, auth: tuple[str, str] | None = None, client: httpx2.AsyncClient | None = None
    ) -> httpx2.Response | str:
        """Fetch a page; a text says why there is none."""
        with trio.move_on_after(NETWORK_LIMIT_S):
            try:
                client = client or self.client
                answer = await client.get(url, auth=auth) if auth else await client.get(url)
            except httpx2.HTTPError as error:
                return str(error) or type(error).__name__
            if date := answer.headers.get("date"):
                self._dates.append(date)
            return answer
        return f"no answer within {NETWORK_LIMIT_S:g} s"


def _obstacle(folder: Path) -> Path | None:
    """What keeps a folder from being made and written: itself, or the nearest one above it that is there. None: nothing."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return None if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK) else folder


def exit_code(findings: list[Finding]) -> int:
    """0: calls would be answered; 1: something is wrong."""
    return 1 if any(finding.verdict is Verdict.WRONG for finding in findings) else 0


def as_facts(findings: list[Finding]) -> list[Mapping[str, str]]:
    """The findings for programs."""
    return [{"topic": each.topic, "verdict": each.verdict.value.lower(), "text": each.text} for each in findings]
