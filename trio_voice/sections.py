"""The settings' sections [server], [model] and [twilio]; those of other parts stand beside what they set."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from attrs import field, frozen, validators

from trio_voice.realtime.providers import OPENAI
from trio_voice.realtime.settings import NoiseReduction


class LogFormat(Enum):
    """How log lines look."""

    CONSOLE = "console"
    JSON = "json"


class VoiceEngine(Enum):
    """What speaks for the embedded model."""

    AUTO = "auto"
    FLITE = "flite"
    ESPEAK_NG = "espeak-ng"
    TONES = "tones"


class LogLevel(Enum):
    """From which importance on something is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ModelAudioFormat(Enum):
    """The audio format that is spoken with the model."""

    PCMU = "pcmu"
    PCMA = "pcma"
    PCM = "pcm"


class MediaAccess(Enum):
    """Who may open a media stream without a call token or a carrier's signature."""

    AUTO = "auto"
    LOCAL = "local"
    GUARDED = "guarded"
    OPEN = "open"


class ConsoleAccess(Enum):
    """Who may see the console."""

    TOKEN = "token"  # noqa: S105 - a word, not a secret
    LOCAL = "local"
    OFF = "off"


def _is_public_url(_settings: object, _field: object, value: str) -> None:
    if not re.fullmatch(r"https?://[^/?#\s]+/?", value):
        raise ValueError("must look like https://voice.example.com, without a path")


def _is_traces_url(_settings: object, _field: object, value: str) -> None:
    if not re.fullmatch(r"https?://[^/?#\s]+/\S*", value):
        raise ValueError("must look like http://127.0.0.1:4318/v1/traces")


@frozen(kw_only=True)
class ServerSettings:
    """Section [server]: where the server listens and what it writes."""

    host: str = field(default="127.0.0.1", validator=validators.min_len(1))
    """The address to listen on; 0.0.0.0: all of this machine's."""
    port: int = field(default=8080, validator=[validators.ge(0), validators.le(65535)])
    """One port for web pages and media streams; 0: any free one."""
    workers: int = field(default=1, validator=[validators.ge(1), validators.le(256)])
    """How many processes share the port, each with its own calls. A good number is that of the machine's cores."""
    public_url: str | None = field(default=None, validator=validators.optional(_is_public_url))
    """How the world reaches this server, for instance https://voice.example.com; shown to carriers."""
    tls_certificate_file: Path | None = None
    """A file with the certificate (PEM, followed by those that vouch for it): then TLS is spoken with everybody (https, wss).
    Left out: that is the business of a proxy or a tunnel."""
    tls_key_file: Path | None = None
    """A file with its key (PEM, without a passphrase); left out: it is in the certificate's file."""
    calls_folder: Path = Path("calls")
    """Where each call gets a folder of its own."""
    media_access: MediaAccess = MediaAccess.AUTO
    """Who may open a media stream without a call token or a carrier's signature: nobody (guarded), clients on this machine
    (local), everybody who reaches the server (open). auto: local on a loopback address without a public_url, else guarded."""
    console: ConsoleAccess = ConsoleAccess.TOKEN
    """Who may see the console: who has the server's token (token), clients on this machine without one too (local), nobody
    (off)."""
    max_calls: int = field(default=500, validator=validators.ge(0))
    """How many calls there may be at once; more are refused: busy. 0: any number."""
    calls_per_minute: int = field(default=120, validator=validators.ge(0))
    """How often one address may try in a minute without a proof, or with a wrong one; who is on this machine is not counted. 0:
    any number."""
    call_token_limit_s: float = field(default=60.0, validator=validators.ge(1.0), converter=float)
    """How long the call token in a webhook's answer is good."""
    api_token_file: Path | None = None
    """A file with the token that opens the API, the metrics and the console, instead of TRIO_VOICE_API_TOKEN. Neither: a new one
    at each start."""
    traces_url: str | None = field(default=None, validator=validators.optional(_is_traces_url))
    """Where an OpenTelemetry collector takes traces (OTLP over HTTP), e.g. http://127.0.0.1:4318/v1/traces; needs the extra
    `traces`."""
    show_numbers: bool = False
    """Show telephone numbers in full, in logs and answers of the API; else their last four digits."""
    gather_ms: float = field(default=4.0, validator=[validators.ge(0.0), validators.le(20.0)], converter=float)
    """For how long callers' frames are gathered, to be served in one go, where there are forty calls and more; with over fifty
    for as much shorter (Linux). More takes less of the processor, and delays what the model hears by as much. 0: never."""
    drain_limit_s: float = field(default=10.0, validator=validators.ge(0.0), converter=float)
    """How long the calls in progress may take to say goodbye after the first Ctrl-C or SIGTERM;
    a second one ends them at once."""
    log_format: LogFormat = LogFormat.CONSOLE
    """console for people, json for machines."""
    log_level: LogLevel = LogLevel.INFO
    """From which importance on something is logged."""


@frozen(kw_only=True)
class ModelSettings:
    """Section [model]: which speech-to-speech model answers."""

    url: str | None = None
    """The base URL of a server that speaks the OpenAI Realtime protocol, or "embedded". Left out: OpenAI's if OPENAI_API_KEY is
    set, else the embedded one."""
    name: str = field(default=OPENAI.model, validator=validators.min_len(1))
    """The model's name."""
    audio_format: ModelAudioFormat = ModelAudioFormat.PCMU
    """What is spoken with the model: mu-law as on the line, without any conversion (pcmu), A-law (pcma), or 16-bit PCM at 24000
    Hz (pcm), for models that take nothing else. The carrier's side stays as it is."""
    api_key_file: Path | None = None
    """A file with the key, instead of an environment variable."""
    transcription_model: str | None = None
    """What writes down the caller's words, for instance gpt-4o-mini-transcribe; left out: nothing does."""
    noise_reduction: NoiseReduction | None = None
    """A filter before the model's voice detector."""
    script: Path | None = None
    """What the embedded model says (TOML, see docs/realtime-server.md); left out: a receptionist."""
    voice: VoiceEngine = VoiceEngine.AUTO
    """What speaks for the embedded model: the best engine that is installed, one of them, or tones."""
    check_every_s: float = field(default=15.0, validator=validators.ge(1.0), converter=float)
    """How often it is looked whether the model takes connections (nothing is sent); /readyz answers 503 while it does not."""
    ping_every_s: float = field(default=1.0, validator=validators.ge(0.0), converter=float)
    """A model from which nothing came for so long is asked for a sign of life (a WebSocket Ping); 0: it never is. The embedded
    one is not asked."""
    ping_limit_s: float = field(default=1.5, validator=validators.ge(0.1), converter=float)
    """How long it may take to give one, of any kind; then the session is lost, and the call goes on in another. For a server that
    cannot answer while it thinks, more."""
    append_ms: int = field(default=0, validator=validators.in_((0, 40, 60)))
    """How much of the caller's audio goes into one message to the model: 0 is every frame as it comes; 40 or 60 takes less of the
    processor, and adds as much to every reaction."""
    speed: float | None = field(default=None, validator=validators.optional([validators.ge(0.25), validators.le(1.5)]))
    """How fast the model speaks; 1 is its natural pace."""


def _is_account_sid(_settings: object, _field: object, value: str) -> None:
    if not re.fullmatch("AC[0-9a-f]{32}", value):
        raise ValueError("must be an account's SID: AC and 32 hexadecimal digits, from the Twilio console")


def _is_telephone_number(_settings: object, _field: object, value: str) -> None:
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", value):
        raise ValueError("must be a telephone number with its country code and nothing but digits behind the plus: +4930123456")


def _is_api_url(_settings: object, _field: object, value: str) -> None:
    if not re.fullmatch(r"https?://[^/?#\s]+", value):
        raise ValueError("must look like https://api.twilio.com, without a path")


@frozen(kw_only=True)
class TwilioSettings:
    """Section [twilio]: calls through Twilio. The account's auth token is in TWILIO_AUTH_TOKEN, or in a file."""

    account_sid: str | None = field(default=None, validator=validators.optional(_is_account_sid))
    """The account; else TWILIO_ACCOUNT_SID. With the auth token, calls that we end are ended at Twilio too."""
    auth_token_file: Path | None = None
    """A file with the account's auth token, instead of TWILIO_AUTH_TOKEN; in a second line the one that is about to replace
    it."""
    api_url: str = field(default="https://api.twilio.com", validator=_is_api_url)
    """Twilio's REST API; another edge or region has another."""
    sorry: str = field(
        default="We are sorry, this call cannot be answered now. Please call again later.", validator=validators.min_len(1)
    )
    """What Twilio says to a caller whose call got no media stream."""
    transfer_to: str | None = field(default=None, validator=validators.optional(_is_telephone_number))
    """Where Twilio connects callers whose call failed, before its stream or with an apology, for instance +4930123456."""
