"""The files in ops/: what they name exists, and a server starts with the settings that they give."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from trio_voice.config import Settings, load_settings
from trio_voice.entrance import media_access
from trio_voice.sections import LogFormat
from trio_voice.server.admission import MediaAccess

OPS = Path(__file__).resolve().parents[1] / "ops"
SECRET = "a-secret-of-24-characters"


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((OPS / "compose.yaml").read_text("utf-8"))
    return document


def settings_with(environ: dict[str, str], folder: Path) -> Settings:
    """The settings of a server with these variables; files of secrets are in `folder`."""
    for name, value in environ.items():
        if name.endswith("_FILE"):
            file = folder / Path(value).name
            file.write_text(SECRET, "utf-8")
            environ[name] = str(file)
    return load_settings(environ=environ, folder=folder)


def test_a_server_starts_with_what_compose_gives_it(tmp_path: Path) -> None:
    service = compose()["services"]["trio-voice"]
    environ = {
        name: re.sub(r"\$\{DOMAIN:\?[^}]*\}", "voice.example.com", value) for name, value in service["environment"].items()
    }
    environ["TWILIO_ACCOUNT_SID"] = "AC" + "0" * 32
    settings = settings_with(environ | _environment_of_the_image(), tmp_path)
    assert settings.server.public_url == "https://voice.example.com"
    assert settings.credentials.api_token == SECRET
    assert settings.credentials.twilio_auth_tokens == (SECRET,)
    assert settings.access.api_key == SECRET
    assert (settings.server.host, settings.server.calls_folder) == ("0.0.0.0", Path("/calls"))
    assert settings.server.log_format is LogFormat.JSON
    assert media_access(settings) is MediaAccess.GUARDED


def _environment_of_the_image() -> dict[str, str]:
    text = (OPS / "Dockerfile").read_text("utf-8")
    return dict(re.findall(r"(TRIO_VOICE_\w+)=(\S+)", text))


def test_every_secret_that_is_used_is_there_and_every_file_that_is_mounted_too() -> None:
    document = compose()
    for service in document["services"].values():
        assert set(service.get("secrets", ())) <= set(document["secrets"])
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (OPS / source).exists() if source.startswith("./") else source in document["volumes"]
    used = re.findall(r"/run/secrets/([\w-]+)", (OPS / "compose.yaml").read_text("utf-8"))
    assert set(used) == set(document["secrets"])


def test_a_call_may_say_goodbye_before_the_container_or_the_unit_is_killed() -> None:
    drain_limit_s = Settings().server.drain_limit_s
    assert int(compose()["services"]["trio-voice"]["stop_grace_period"].removesuffix("s")) > drain_limit_s
    assert int(unit()["Service"]["TimeoutStopSec"]) > drain_limit_s


def unit() -> configparser.RawConfigParser:
    """The systemd unit; of a name that comes twice the values are joined by lines."""

    class Joined(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            if isinstance(value, list) and key in self:
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.RawConfigParser(strict=False, dict_type=Joined, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign] # - the way that configparser documents
    parser.read(OPS / "trio-voice.service", "utf-8")
    return parser


def test_a_server_starts_with_what_the_unit_gives_it(tmp_path: Path) -> None:
    text = (OPS / "trio-voice.service").read_text("utf-8")
    assert unit()["Service"]["Type"] == "notify"
    environ = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    assert environ["TRIO_VOICE_SERVER_CALLS_FOLDER"] == "%S/trio-voice/calls"
    loaded = set(re.findall(r"^LoadCredential=([\w-]+):", text, re.MULTILINE))
    assert {Path(value).name for name, value in environ.items() if name.endswith("_FILE")} == loaded
    settings = settings_with(environ, tmp_path)
    assert settings.credentials.api_token == SECRET


def test_prometheus_shows_the_token() -> None:
    (job,) = yaml.safe_load((OPS / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    assert job["authorization"] == {"type": "Bearer", "credentials_file": "/run/secrets/api-token"}
    assert job["metrics_path"] == "/metrics"


@pytest.mark.parametrize("name", ["pyproject.toml", "README.md", "LICENSE", "trio_voice"])
def test_what_the_image_is_built_from_is_there(name: str) -> None:
    assert (OPS.parent / name).exists()
    assert name in (OPS / "Dockerfile").read_text("utf-8")
    assert f"!{name}" in (OPS / "Dockerfile.dockerignore").read_text("utf-8").split()
