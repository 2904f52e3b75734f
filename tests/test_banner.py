"""What a server says at its start."""

from pathlib import Path

import pytest
from attrs import evolve

from tests.server.certificate_files import HOST, pair_in
from trio_voice.agent_file import load_agent
from trio_voice.banner import addresses, banner, call_command
from trio_voice.config import Settings, load_settings
from trio_voice.sections import ServerSettings
from trio_voice.web.start_page import About


def settings(tmp_path: Path, *assignments: str) -> Settings:
    return load_settings(
        file=None, environ={}, assignments=(f"server.calls_folder={tmp_path}", *assignments), flags={}, loaded=None
    )


def about(media_urls: tuple[str, ...]) -> About:
    return About(version="1.2", agent="concierge", model="a model", media_urls=media_urls)


@pytest.mark.parametrize(
    ("server", "own", "media"),
    [
        (ServerSettings(), "http://127.0.0.1:8080", "ws://127.0.0.1:8080/media/twilio"),
        (ServerSettings(host="0.0.0.0"), "http://127.0.0.1:8080", "ws://127.0.0.1:8080/media/twilio"),
        (ServerSettings(tls_certificate_file=Path("x")), "https://127.0.0.1:8080", "wss://127.0.0.1:8080/media/twilio"),
        (ServerSettings(host="::"), "http://[::1]:8080", "ws://[::1]:8080/media/twilio"),
        (ServerSettings(public_url="https://v.example/"), "http://127.0.0.1:8080", "wss://v.example/media/twilio"),
    ],
)
def test_where_it_is_for_us_and_for_carriers(server: ServerSettings, own: str, media: str) -> None:
    own_url, media_urls = addresses(server, 8080)
    assert own_url == own
    assert media in media_urls


def test_it_tells_everything_in_a_line_each(tmp_path: Path) -> None:
    own_url, media_urls = addresses(ServerSettings(), 8080)
    told = banner(settings(tmp_path), about(media_urls), own_url, "a token", ["flite speaks"])
    assert told.startswith("trio-voice 1.2: concierge is ready for calls.\n")
    words = {line.split()[0]: line.split(maxsplit=1)[1] for line in told.splitlines()[1:-1]}
    assert words["health"] == "http://127.0.0.1:8080/healthz"
    assert words["carrier"] == "ws://127.0.0.1:8080/media/twilio"
    assert (words["model"], words["voice"], words["calls"]) == ("a model", "flite speaks", str(tmp_path))
    assert words["console"] == "http://127.0.0.1:8080/?token=a token"
    assert "workers" not in words


def test_several_workers_are_told(tmp_path: Path) -> None:
    own_url, media_urls = addresses(ServerSettings(), 8080)
    told = banner(settings(tmp_path, "server.console=off"), about(media_urls), own_url, "a token", [], workers=4)
    assert "workers   4 processes, which show and serve each other's calls" in told
    assert "a token" not in told


def test_who_has_tools_and_no_model_that_calls_them_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        'from trio_voice import Agent, tool\n\n\n@tool\nasync def book() -> str:\n    """Book."""\n    return "booked"\n\n\n'
        'agent = Agent(name="mine", instructions="Answer.", tools=[book])\n',
        encoding="utf-8",
    )
    loaded = load_agent(str(tmp_path / "mine.py"))
    for assignments, told in (((), True), (("model.url=ws://127.0.0.1:1/v1",), False)):
        given = load_settings(file=None, environ={}, assignments=assignments, flags={}, loaded=loaded)
        text = banner(given, about(("ws://x/media/twilio",)), "http://127.0.0.1:8080", "a token", [])
        assert "with the tools book" in text
        assert ("calls them only where a script says so" in text) == told


def test_a_certificate_that_is_no_good_is_warned_of(tmp_path: Path) -> None:
    pair = pair_in(tmp_path, days=-3)
    given = settings(tmp_path, f"server.tls_certificate_file={pair.certificate}", f"server.tls_key_file={pair.key}")
    own_url, media_urls = addresses(given.server, 8080)
    told = banner(given, about(media_urls), own_url, "a token", [])
    assert f"\n  WARNING   the certificate of {HOST} expired on " in told
    assert "\n  health    https://127.0.0.1:8080/healthz\n" in told


def test_a_certificate_for_another_name_than_the_public_one_is_warned_of(tmp_path: Path) -> None:
    pair = pair_in(tmp_path)
    files = (f"server.tls_certificate_file={pair.certificate}", f"server.tls_key_file={pair.key}")
    given = settings(tmp_path, *files, "server.public_url=https://calls.example.com")
    own_url, media_urls = addresses(given.server, 8080)
    told = banner(given, about(media_urls), own_url, "a token", [])
    assert f"\n  WARNING   the certificate is for {HOST}, and not for calls.example.com (server.public_url)" in told


def test_the_test_call_that_it_tells_of_finds_this_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call_command(tmp_path / "calls") == "make call"
    assert call_command(tmp_path / "my calls") == f"""make call ARGS="--calls-folder '{tmp_path}/my calls'\""""
    given = evolve(about(()), call_command=call_command(Path("/srv/calls")))
    told = banner(settings(tmp_path), given, "http://127.0.0.1:8080", "a token", [])
    assert """terminal: make call ARGS="--calls-folder /srv/calls". Ctrl-C""" in told
