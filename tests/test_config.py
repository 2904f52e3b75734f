"""The program's settings as a user gives them, and every mistake as one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_voice.agent.agent import Agent
from trio_voice.agent.tool import tool
from trio_voice.agent_file import LoadedAgent
from trio_voice.config import REFUSED, SECTIONS, ModelAccess, Settings, load_settings
from trio_voice.core.settings import Turns
from trio_voice.errors import ConfigError
from trio_voice.sections import LogFormat, VoiceEngine
from trio_voice.settings_sources import Given, names_of


def load(
    folder: Path,
    text: str | None = None,
    environ: dict[str, str] | None = None,
    file: Path | None = None,
    assignments: tuple[str, ...] = (),
    flags: dict[str, Given] | None = None,
    loaded: LoadedAgent | None = None,
) -> Settings:
    if text is not None:
        (folder / "trio-voice.toml").write_text(text, encoding="utf-8")
    return load_settings(environ=environ or {}, folder=folder, file=file, assignments=assignments, flags=flags, loaded=loaded)


def mistake(
    folder: Path,
    text: str | None = None,
    environ: dict[str, str] | None = None,
    flags: dict[str, Given] | None = None,
    loaded: LoadedAgent | None = None,
) -> str:
    with pytest.raises(ConfigError) as error:
        load(folder, text, environ, flags=flags, loaded=loaded)
    return str(error.value).replace(str(folder) + "/", "")


def test_r33_without_anything_the_model_is_embedded_and_the_server_local(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.access == ModelAccess(base_url=None)
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.server.calls_folder == tmp_path / "calls"
    assert settings.file is None


def test_r33_with_openais_key_the_model_is_openais(tmp_path: Path) -> None:
    access = load(tmp_path, environ={"OPENAI_API_KEY": "sk-1"}).access
    assert access == ModelAccess(base_url="wss://api.openai.com/v1", api_key="sk-1")
    assert "sk-1" not in repr(access)


def test_r33_the_embedded_model_can_be_chosen_in_spite_of_a_key(tmp_path: Path) -> None:
    settings = load(tmp_path, '[model]\nurl = "embedded"\n', {"OPENAI_API_KEY": "sk-1"})
    assert settings.access == ModelAccess(base_url=None)


def test_r33_any_server_can_be_named_and_openais_key_is_not_sent_to_it(tmp_path: Path) -> None:
    text = '[model]\nurl = "http://127.0.0.1:9000/v1"\n'
    assert load(tmp_path, text, {"OPENAI_API_KEY": "sk-1"}).access == ModelAccess(base_url="http://127.0.0.1:9000/v1")
    own = load(tmp_path, text, {"OPENAI_API_KEY": "sk-1", "TRIO_VOICE_MODEL_API_KEY": "k-2"}).access
    assert own == ModelAccess(base_url="http://127.0.0.1:9000/v1", api_key="k-2")


def test_a_key_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-3\n", encoding="utf-8")
    text = f'[model]\nurl = "wss://api.openai.com/v1"\napi_key_file = "{tmp_path / "key"}"\n'
    assert load(tmp_path, text).access.api_key == "sk-3"


def test_later_sources_win_one_value_at_a_time(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        '[server]\nport = 1\nhost = "::1"\n[call]\nwatchdog_s = 1\nidle_s = 1\nturns = "model"\n'
        '[agent]\ngreeting = "Hi."\n[wording]\nfarewell = "Bye."\n',
        {"TRIO_VOICE_SERVER_PORT": "2", "TRIO_VOICE_CALL_WATCHDOG_S": "2", "TRIO_VOICE_SERVER_LOG_FORMAT": "json"},
        assignments=("call.watchdog_s=3", "server.port=3"),
        flags={"server.port": Given(4, "--port")},
    )
    assert (settings.server.port, settings.server.host, settings.server.log_format) == (4, "::1", LogFormat.JSON)
    assert (settings.call.watchdog_s, settings.call.idle_s, settings.call.turns) == (3.0, 1.0, Turns.MODEL)
    assert (settings.wording.greeting, settings.wording.farewell) == ("Hi.", "Bye.")
    assert settings.file == tmp_path / "trio-voice.toml"


def test_the_file_can_be_named_by_flag_or_variable_and_the_flag_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "1.toml", tmp_path / "2.toml"
    first.write_text("[server]\nport = 1\n", encoding="utf-8")
    second.write_text("[server]\nport = 2\n", encoding="utf-8")
    environ = {"TRIO_VOICE_CONFIG": str(first)}
    assert load(tmp_path, "[server]\nport = 3\n", environ).server.port == 1
    assert load(tmp_path, "[server]\nport = 3\n", environ, file=second).server.port == 2


@pytest.mark.parametrize("name", sorted(set(names_of(SECTIONS)) - set(REFUSED)))
def test_every_setting_can_be_given_and_is_checked(tmp_path: Path, name: str) -> None:
    """A table (in the file) is no value of any setting: if one were not read, or not checked, nothing would be said."""
    section, _, key = name.partition(".")
    assert mistake(tmp_path, f"[{section}]\n{key} = {{ a = 1 }}\n").startswith(f"{name} = {{'a': 1}} (trio-voice.toml): must be ")


@pytest.mark.parametrize(
    ("text", "environ", "says"),
    [
        ("[server]\nport = 70000", {}, "server.port = 70000 (trio-voice.toml): must be <= 65535"),
        ("[call]\nwatchdog_s = -1", {}, "call.watchdog_s = -1 (trio-voice.toml): must be >= 0.0"),
        ("[call]\nwatchdog = 1", {}, "trio-voice.toml: there is no setting call.watchdog; did you mean call.watchdog_s?"),
        ("port = 1", {}, "trio-voice.toml: port belongs into a section: write it below [server]"),
        (
            "[model]\napi_key = 'sk-secret'",
            {},
            (
                "trio-voice.toml: model.api_key is not set here; a key does not belong into what is read and shared: "
                "set TRIO_VOICE_MODEL_API_KEY (for OpenAI: OPENAI_API_KEY) "
                "in the environment, or name a file that holds the key with model.api_key_file"
            ),
        ),
        (
            "[agent]\ntools = ['book']",
            {},
            (
                "trio-voice.toml: agent.tools is not set here; tools are Python functions: write the agent in Python, "
                "and start it with: trio-voice serve my_agent.py"
            ),
        ),
        (
            "[agent]\nlanguage = 'German'",
            {},
            "agent.language = 'German' (trio-voice.toml): must be a language's code, for instance de or pt-BR",
        ),
        ("[agent]\nname = ''", {}, "agent.name = '' (trio-voice.toml): must be a text that is not empty"),
        (
            "[model]\nurl = 'api.openai.com'",
            {},
            (
                "model.url = 'api.openai.com' (trio-voice.toml): the model's URL 'api.openai.com' "
                'must look like wss://host/v1 or https://host/v1, or be "embedded"'
            ),
        ),
        (
            None,
            {"TRIO_VOICE_MODEL_URL": "wss://api.openai.com/v1"},
            (
                "model.url = 'wss://api.openai.com/v1' (environment variable TRIO_VOICE_MODEL_URL): OpenAI needs a key: set "
                "OPENAI_API_KEY, or use the model.url 'embedded'"
            ),
        ),
        (
            None,
            {"OPENAI_API_KEY": "sk secret"},
            (
                "environment variable OPENAI_API_KEY: the model's API key is empty or has a character that no key has; "
                "copy it again, without quotes or spaces"
            ),
        ),
        (
            "[model]\nurl = 'wss://host/v1'\napi_key_file = '/no/such/key'",
            {},
            "model.api_key_file /no/such/key: the key cannot be read (No such file or directory)",
        ),
        (
            None,
            {"TRIO_VOICE_SERVR_PORT": "1"},
            "environment variable TRIO_VOICE_SERVR_PORT: there is no such setting; did you mean TRIO_VOICE_SERVER_PORT?",
        ),
        (
            None,
            {"TRIO_VOICE_CONFIG": "nowhere.toml"},
            "nowhere.toml: there is no such file; give the path of a TOML file, or leave it out",
        ),
        (
            "[server]\npublic_url = 'voice.example.com'",
            {},
            (
                "server.public_url = 'voice.example.com' (trio-voice.toml): "
                "must look like https://voice.example.com, without a path"
            ),
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_key_origin_and_fix(
    tmp_path: Path, text: str | None, environ: dict[str, str], says: str
) -> None:
    sentence = mistake(tmp_path, text, environ)
    assert sentence == says
    assert "\n" not in sentence
    assert "secret" not in sentence


def test_an_agent_without_a_greeting_waits_for_the_caller(tmp_path: Path) -> None:
    assert load(tmp_path).call.greeting
    assert not load(tmp_path, '[agent]\ngreeting = ""\n').call.greeting
    assert not load(tmp_path, "[call]\ngreeting = false\n").call.greeting


def test_a_flags_mistake_names_the_flag(tmp_path: Path) -> None:
    assert mistake(tmp_path, flags={"server.port": Given(-1, "--port")}) == "server.port = -1 (--port): must be >= 0"


# --- an agent in Python ------------------------------------------------------------------------------------------------


@tool(timeout_s=30)
async def slow() -> None:
    """Be slow."""


PYTHON = LoadedAgent(Agent(name="practice", greeting="", tools=[slow]), Path("my_agent.py"))


def test_r35_an_agent_in_python_takes_the_place_of_the_settings_agent(tmp_path: Path) -> None:
    settings = load(tmp_path, "[call]\ntool_limit_s = 30\n", loaded=PYTHON)
    assert (settings.agent, settings.agent_file) == (PYTHON.agent, Path("my_agent.py"))
    assert (settings.call.greeting, settings.wording.greeting) == (False, "")
    assert load(tmp_path).agent_file is None


@pytest.mark.parametrize(
    ("text", "environ", "shown"),
    [
        ("[agent]\nvoice = 'cedar'", {}, "agent.voice = 'cedar' (trio-voice.toml)"),
        (None, {"TRIO_VOICE_AGENT_NAME": "x"}, "agent.name = 'x' (environment variable TRIO_VOICE_AGENT_NAME)"),
    ],
)
def test_an_agent_is_not_mixed_from_two_places(tmp_path: Path, text: str | None, environ: dict[str, str], shown: str) -> None:
    assert mistake(tmp_path, text, environ, loaded=PYTHON) == (
        f"{shown}: the agent is the one in my_agent.py: write it there, or leave one of the two out"
    )


def test_a_tool_may_not_take_longer_than_the_call_waits_for_one(tmp_path: Path) -> None:
    text = "must be at least 30, the timeout_s of the tool slow"
    assert mistake(tmp_path, loaded=PYTHON) == f"call.tool_limit_s = 20.0 (the default): {text}"
    assert mistake(tmp_path, "[call]\ntool_limit_s = 29", loaded=PYTHON) == f"call.tool_limit_s = 29 (trio-voice.toml): {text}"


ONLY_TEXT = "the only placeholder here is {text}; for braces write {{ and }}"


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("injected_text", "Say {txt}", "{txt} stands for nothing; " + ONLY_TEXT),
        ("injected_text", "Say {}", "{} stands for nothing; " + ONLY_TEXT),
        ("injected_text", "Say {text.upper}", "{text.upper} stands for nothing; " + ONLY_TEXT),
        ("injected_text", "Say {text", "expected '}' before end of string; " + ONLY_TEXT),
        ("injected_text", "Say it", "must have {text} where the words are to be"),
        (
            "digits",
            "Keys: {text}",
            "{text} stands for nothing; the only placeholder here is {digits}; for braces write {{ and }}",
        ),
        ("farewell", "Say goodbye, {name}", "{name} stands for nothing here: this text has no placeholders"),
        ("idle_prompt", "Ask {}", "{} stands for nothing here: this text has no placeholders"),
    ],
)
def test_r33_a_placeholder_that_stands_for_nothing_is_found_at_the_start(key: str, text: str, says: str, tmp_path: Path) -> None:
    shown = f"wording.{key} = {text!r} (trio-voice.toml): "
    assert mistake(tmp_path, f'[wording]\n{key} = "{text}"\n') == shown + says


def test_texts_with_their_placeholders_are_taken(tmp_path: Path) -> None:
    text = """[wording]
injected_text = "Say {text} {{so}}"
digits = "{digits}, {digits!r}"
notice = "Say: it is not { here"
"""
    wording = load(tmp_path, text).wording
    assert wording.injected_text.format(text="x") == "Say x {so}"
    assert wording.digits.format(digits="1") == "1, '1'"
    assert wording.notice == "Say: it is not { here"


def test_a_key_for_no_model_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k", encoding="utf-8")
    text = f'[model]\napi_key_file = "{tmp_path}/key"\n'
    assert mistake(tmp_path, '[model]\napi_key_file = "key"\n') == (
        "model.api_key_file = 'key' (trio-voice.toml): a key for no model: "
        'set model.url, for OpenAI "wss://api.openai.com/v1" (or "embedded")'
    )
    assert load(tmp_path, text, {"OPENAI_API_KEY": "o"}).access.api_key == "k"
    assert load(tmp_path, text + 'url = "embedded"\n').access.base_url is None


def test_what_is_for_the_embedded_model_is_refused_beside_another(tmp_path: Path) -> None:
    assert load(tmp_path, '[model]\nvoice = "tones"\n').model.voice is VoiceEngine.TONES
    assert mistake(tmp_path, '[model]\nurl = "ws://host/v1"\nvoice = "tones"\n') == (
        "model.voice = 'tones' (trio-voice.toml): is for the embedded model, and ws://host/v1 answers: "
        "leave it out, or use --model embedded"
    )
    assert "model.script = 's.toml'" in mistake(tmp_path, '[model]\nurl = "ws://host/v1"\nscript = "s.toml"\n')


# --- recordings


def test_what_is_announced_is_said_first_in_the_greeting(tmp_path: Path) -> None:
    text = '[recording]\nenabled = true\nannouncement = "This call is recorded."\n[agent]\ngreeting = "Say hello."\n'
    assert load(tmp_path, text).wording.greeting == (
        'Begin with exactly this sentence, word for word: "This call is recorded." After it: Say hello.'
    )
    assert mistake(tmp_path, f"{text}[call]\ngreeting = false\n") == (
        "recording.announcement = 'This call is recorded.' (trio-voice.toml): is said with the greeting, and there is none: "
        "see call.greeting"
    )


def test_a_folder_of_recordings_is_one_from_here(tmp_path: Path) -> None:
    assert load(tmp_path).recording.folder is None
    assert load(tmp_path, "[recording]\nfolder = 'tapes'\n").recording.folder == tmp_path / "tapes"


@pytest.mark.parametrize("line", ['s3_url = "s3://AKID:hunter2@calls"', 's3_endpoint = "https://AKID:hunter2@minio:9000"'])
def test_an_address_of_a_store_with_a_key_in_it_is_refused_without_showing_it(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"trio-voice\.toml\): no user and no key: set AWS_ACCESS_KEY_ID") as caught:
        load(tmp_path, f"[recording]\n{line}\n")
    assert "hunter2" not in str(caught.value)


def test_a_store_needs_a_bucket(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recording\.s3_endpoint = .* needs a bucket: set recording\.s3_url"):
        load(tmp_path, '[recording]\ns3_endpoint = "https://minio:9000"\n')


@pytest.mark.parametrize("url", ["postgresql://tom:hunter2@db/calls", "postgresql://db/calls?user=tom&password=hunter2"])
def test_a_databases_password_is_taken_from_the_environment_alone(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, environ={"TRIO_VOICE_RECORDS_URL": url}).records.url == url
    said = mistake(tmp_path, f'[records]\nurl = "{url}"\n')
    assert said == (
        "records.url (trio-voice.toml): a password does not belong into what is read and shared: give the whole address as "
        "TRIO_VOICE_RECORDS_URL in the environment, or the password alone in PGPASSWORD or ~/.pgpass"
    )
    with pytest.raises(ConfigError, match=r"^records\.url \(--set\): a password does not belong"):
        load(tmp_path, assignments=(f"records.url={url}",))
    assert load(tmp_path, '[records]\nurl = "postgresql://tom@db:5432/calls"\n').records.url == "postgresql://tom@db:5432/calls"


def test_a_key_needs_its_certificate() -> None:
    with pytest.raises(ConfigError, match=r"^server\.tls_key_file = .* needs a certificate: set server\.tls_certificate_file$"):
        load_settings(environ={}, assignments=["server.tls_key_file=key.pem"])
