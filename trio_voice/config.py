"""The program's settings: a TOML file, the environment, flags. Every error names the key, where it came from, and the fix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from urllib.parse import urlsplit

from attrs import evolve, field, frozen

from trio_voice.agent.agent import Agent
from trio_voice.agent_file import LoadedAgent
from trio_voice.core.settings import CallSettings, Wording
from trio_voice.credentials import API_TOKEN_VARIABLE, AUTH_TOKEN_VARIABLE, Credentials
from trio_voice.errors import ConfigError, UserError
from trio_voice.realtime.providers import OPENAI, session_url, upgrade_headers
from trio_voice.recording.settings import RecordingSettings, announced
from trio_voice.records.settings import RecordsSettings
from trio_voice.sections import ModelSettings, ServerSettings, TwilioSettings
from trio_voice.settings_sources import Given, Values, build, from_assignments, from_environment, from_file, wrong

DEFAULT_FILE = "trio-voice.toml"
EMBEDDED = "embedded"
KEY_VARIABLE = "TRIO_VOICE_MODEL_API_KEY"
RECORDS_VARIABLE = "TRIO_VOICE_RECORDS_URL"
OTHER_VARIABLES = frozenset({"TRIO_VOICE_CONFIG", KEY_VARIABLE, API_TOKEN_VARIABLE, "TRIO_VOICE_MODEL_KEY", "TRIO_VOICE_SPEECH"})
"""Variables of ours that are no settings: the settings' file, keys, and what the `model` and `speech` commands read."""


@frozen(kw_only=True)
class ModelAccess:
    """How the model is reached. `base_url` None: it is embedded."""

    base_url: str | None
    api_key: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Settings:
    """Everything."""

    server: ServerSettings = field(factory=ServerSettings)
    model: ModelSettings = field(factory=ModelSettings)
    twilio: TwilioSettings = field(factory=TwilioSettings)
    records: RecordsSettings = field(factory=RecordsSettings)
    recording: RecordingSettings = field(factory=RecordingSettings)
    agent: Agent = field(factory=Agent)
    call: CallSettings = field(factory=CallSettings)
    wording: Wording = field(factory=Wording)
    access: ModelAccess = field(factory=lambda: ModelAccess(base_url=None))
    """Worked out from [model] and the environment."""
    credentials: Credentials = field(factory=Credentials)
    """What the environment and files of keys say about carriers and the API."""
    file: Path | None = None
    """The file that was read."""
    agent_file: Path | None = None
    """The Python file that the agent comes from."""
    agents: Mapping[str, Agent] = field(factory=dict)
    """The agents in that file, by their names there."""


SECTIONS = {
    "server": ServerSettings,
    "model": ModelSettings,
    "twilio": TwilioSettings,
    "records": RecordsSettings,
    "recording": RecordingSettings,
    "agent": Agent,
    "call": CallSettings,
    "wording": Wording,
}
S3_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or use another of the ways that boto3 knows"
REFUSED = {
    "model.api_key": f"a key does not belong into what is read and shared: "
    f"set {KEY_VARIABLE} (for OpenAI: {OPENAI.key_variable}) in the environment, "
    "or name a file that holds the key with model.api_key_file",
    "twilio.auth_token": "a token does not belong into what is read and shared: "
    f"set {AUTH_TOKEN_VARIABLE} in the environment, or name a file that holds it with twilio.auth_token_file",
    "server.api_token": "a token does not belong into what is read and shared: "
    f"set {API_TOKEN_VARIABLE} in the environment, or name a file that holds it with server.api_token_file",
    **dict.fromkeys(
        ("recording.s3_access_key_id", "recording.s3_secret_access_key", "recording.s3_session_token"),
        f"a key does not belong into what is read and shared: {S3_CREDENTIALS}",
    ),
    "wording.greeting": "write it as agent.greeting",
    "agent.tools": "tools are Python functions: write the agent in Python, and start it with: trio-voice serve my_agent.py",
}


PLACEHOLDERS = {"injected_text": "text", "digits": "digits"}
"""The texts of [wording] in which something is filled in, and the name that stands for it."""


def load_settings(
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, Given] | None = None,
    assignments: Sequence[str] = (),
    folder: Path | None = None,
    loaded: LoadedAgent | None = None,
) -> Settings:
    """Put the settings together. Later sources win: the file, the environment, `assignments` (--set), `flags`.

    `file` None: the one that TRIO_VOICE_CONFIG names, else trio-voice.toml in `folder` (the current one) if it is there.
    `loaded` takes the place of [agent]. Raises ConfigError.
    """
    path = file or _default_file(environ, folder or Path.cwd())
    values: dict[str, Given] = {}
    if path is not None:
        values |= from_file(path, SECTIONS, refused=REFUSED)
    values |= from_environment(environ, SECTIONS, refused=REFUSED, others=OTHER_VARIABLES)
    values |= from_assignments(list(assignments), SECTIONS, refused=REFUSED, flag="--set")
    values |= flags or {}
    server = build("server", ServerSettings, values)
    if server.tls_key_file is not None and server.tls_certificate_file is None:
        raise wrong("server.tls_key_file", values["server.tls_key_file"], "needs a certificate: set server.tls_certificate_file")
    model = build("model", ModelSettings, values)
    twilio = build("twilio", TwilioSettings, values)
    agent = build("agent", Agent, values) if loaded is None else _agent_alone(loaded, values)
    call = build("call", CallSettings, values)
    _check_tools(agent, call, values)
    recording = _recording(folder or Path.cwd(), values, has_greeting=call.greeting and agent.speaks_first)
    return Settings(
        server=evolve(server, calls_folder=(folder or Path.cwd()) / server.calls_folder),
        model=model,
        twilio=twilio,
        records=_records(values),
        recording=recording,
        agent=agent,
        call=evolve(call, greeting=call.greeting and agent.speaks_first),
        wording=evolve(_wording(values), greeting=announced(agent.greeting, recording)),
        access=_access(model, values, environ),
        credentials=Credentials.found(
            environ,
            account_sid=twilio.account_sid,
            auth_token_file=twilio.auth_token_file,
            api_token_file=server.api_token_file,
        ),
        file=path,
        agents={} if loaded is None else loaded.agents,
        agent_file=None if loaded is None else loaded.file,
    )


def _default_file(environ: Mapping[str, str], folder: Path) -> Path | None:
    if named := environ.get("TRIO_VOICE_CONFIG"):
        return Path(named)
    path = folder / DEFAULT_FILE
    return path if path.exists() else None


# --- the agent ---------------------------------------------------------------------------------------------------------


def _agent_alone(loaded: LoadedAgent, values: Values) -> Agent:
    """An agent has one home: nothing of it is mixed from two."""
    for name, given in values.items():
        if name.startswith("agent."):
            raise wrong(name, given, f"the agent is the one in {loaded.file}: write it there, or leave one of the two out")
    return loaded.agent


def _check_tools(agent: Agent, call: CallSettings, values: Values) -> None:
    """A tool's own limit must be within the call's, which gives up whatever has not answered."""
    for tool in agent.tools:
        if tool.timeout_s is not None and tool.timeout_s > call.tool_limit_s:
            given = values.get("call.tool_limit_s", Given(call.tool_limit_s, "the default"))
            raise wrong("call.tool_limit_s", given, f"must be at least {tool.timeout_s:g}, the timeout_s of the tool {tool.name}")


# --- the wording -------------------------------------------------------------------------------------------------------


def _wording(values: Values) -> Wording:
    """Try each text now: a placeholder that nothing stands for would be found when a caller waits for the words."""
    wording = build("wording", Wording, values)
    for name, given in values.items():
        section, _, key = name.partition(".")
        if section == "wording" and (problem := _misplaced(str(given.value), PLACEHOLDERS.get(key))):
            raise wrong(name, given, problem)
    return wording


def _misplaced(text: str, placeholder: str | None) -> str | None:
    """What is wrong with a text's placeholders; None: nothing."""
    if placeholder is None:
        found = re.search(r"\{\w*\}", text)
        return f"{found[0]} stands for nothing here: this text has no placeholders" if found else None
    only = f"the only placeholder here is {{{placeholder}}}; for braces write {{{{ and }}}}"
    try:
        names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError as error:
        return f"{error}; {only}"
    if strange := sorted(names - {placeholder}):
        return f"{{{strange[0]}}} stands for nothing; {only}"
    return None if names else f"must have {{{placeholder}}} where the words are to be"


def _records(values: Values) -> RecordsSettings:
    """A database's password comes from the environment, as all secrets do."""
    given = values.get("records.url")
    is_shared = given is not None and given.origin != f"environment variable {RECORDS_VARIABLE}"
    if given is not None and is_shared and re.search(r"//[^/@\s]*:[^@\s]*@|[?&]password=", str(given.value)):
        raise ConfigError(  # without the value
            f"records.url ({given.origin}): a password does not belong into what is read and shared: give the whole address "
            f"as {RECORDS_VARIABLE} in the environment, or the password alone in PGPASSWORD or ~/.pgpass"
        )
    return build("records", RecordsSettings, values)


def _recording(folder: Path, values: Values, *, has_greeting: bool) -> RecordingSettings:
    """What is announced must be said: in the greeting."""
    for name in ("recording.s3_url", "recording.s3_endpoint"):
        if (given := values.get(name)) is not None and "@" in str(given.value):  # the value is not shown: a secret may be in it
            raise ConfigError(f"{name} ({given.origin}): no user and no key: {S3_CREDENTIALS}")
    recording = build("recording", RecordingSettings, values)
    if recording.s3_endpoint is not None and recording.s3_url is None:
        raise wrong("recording.s3_endpoint", values["recording.s3_endpoint"], "needs a bucket: set recording.s3_url")
    if recording.announcement and recording.enabled and not has_greeting:
        given = values.get("recording.announcement", Given(recording.announcement, "the default"))
        raise wrong("recording.announcement", given, "is said with the greeting, and there is none: see call.greeting")
    return evolve(recording, folder=None if recording.folder is None else folder / recording.folder)


# --- the model's address and key ---------------------------------------------------------------------------------------


def _access(model: ModelSettings, values: Values, environ: Mapping[str, str]) -> ModelAccess:
    """Work out which model answers and with which key. OpenAI's own variable is sent to nobody but OpenAI."""
    url = model.url or (OPENAI.base_url if environ.get(OPENAI.key_variable) else EMBEDDED)
    if model.url is None and url == EMBEDDED and model.api_key_file is not None:
        key_file = values.get("model.api_key_file", Given(str(model.api_key_file), "the default"))
        raise wrong(
            "model.api_key_file", key_file, f'a key for no model: set model.url, for OpenAI "{OPENAI.base_url}" (or "{EMBEDDED}")'
        )
    if url == EMBEDDED:
        return ModelAccess(base_url=None)
    for name in ("model.script", "model.voice"):
        if name in values:
            raise wrong(
                name, values[name], f"is for the embedded model, and {url} answers: leave it out, or use --model {EMBEDDED}"
            )
    given = values.get("model.url", Given(url, "the default"))
    try:
        session_url(url, model.name)
    except UserError as error:
        raise wrong("model.url", given, f'{error}, or be "{EMBEDDED}"') from None
    is_openai = urlsplit(url).hostname == urlsplit(OPENAI.base_url).hostname
    key, origin = _key(model, environ, own_variable=OPENAI.key_variable if is_openai else None)
    if is_openai and key is None:
        raise wrong("model.url", given, f"OpenAI needs a key: set {OPENAI.key_variable}, or use the model.url {EMBEDDED!r}")
    try:
        upgrade_headers(key)
    except UserError as error:
        raise ConfigError(f"{origin}: {error}") from None
    return ModelAccess(base_url=url, api_key=key)


def _key(model: ModelSettings, environ: Mapping[str, str], *, own_variable: str | None) -> tuple[str | None, str]:
    """Find the key, and say where it was found."""
    if key := environ.get(KEY_VARIABLE):
        return key, f"environment variable {KEY_VARIABLE}"
    if model.api_key_file is not None:
        try:
            return model.api_key_file.read_text(encoding="utf-8").strip(), f"model.api_key_file {model.api_key_file}"
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "not UTF-8 text"
            raise ConfigError(f"model.api_key_file {model.api_key_file}: the key cannot be read ({reason})") from None
    if own_variable is not None and (key := environ.get(own_variable)):
        return key, f"environment variable {own_variable}"
    return None, ""
