import pytest

from trio_voice.core.echo import (
    AUDIBLE_DBFS,
    ECHO_OVER_FLOOR_DB,
    FEWEST_FRAMES,
    HIGHEST_DB,
    LOWEST_DB,
    MARGIN_DB,
    PERCENTILE,
    SOUND_DBFS,
    SOUND_OVER_FLOOR_DB,
    START_DB,
    WINDOW_FRAMES,
    EchoGuard,
)

QUIET_DBFS = -72.0


def taught(loss_db: float, frames: int = FEWEST_FRAMES) -> EchoGuard:
    echo = EchoGuard()
    for _ in range(frames):
        echo.learn(-20.0 - loss_db, -20.0, QUIET_DBFS)
    return echo


def test_the_loss_is_assumed_until_it_is_known() -> None:
    assert taught(25.0, FEWEST_FRAMES - 1).return_loss_db == START_DB
    assert taught(25.0).return_loss_db == 25.0


@pytest.mark.parametrize(("true_db", "kept_db"), [(40.0, HIGHEST_DB), (2.0, LOWEST_DB), (30.0, 30.0), (6.0, 6.0)])
def test_the_loss_is_bounded(true_db: float, kept_db: float) -> None:
    assert taught(true_db).return_loss_db == kept_db


def test_it_is_a_low_percentile() -> None:
    echo = EchoGuard()
    for number in range(100):
        echo.learn(-40.0 - number / 10, -20.0, QUIET_DBFS)
    assert echo.return_loss_db == 20.0 + PERCENTILE / 10


def test_it_forgets_after_a_window() -> None:
    echo = taught(10.0, WINDOW_FRAMES)
    for _ in range(WINDOW_FRAMES):
        echo.learn(-45.0, -20.0, QUIET_DBFS)
    assert echo.return_loss_db == 25.0


def test_louder_is_more_than_the_echo_and_a_margin() -> None:
    echo = taught(20.0)
    border = -20.0 - 20.0 + MARGIN_DB
    assert not echo.is_louder_than_echo(border, -20.0, QUIET_DBFS)
    assert echo.is_louder_than_echo(border + 0.001, -20.0, QUIET_DBFS)


def test_an_agent_that_is_not_heard_has_no_echo() -> None:
    silent_dbfs, sound_dbfs = AUDIBLE_DBFS - 0.001, SOUND_DBFS + 0.001
    echo = taught(LOWEST_DB)
    assert echo.is_louder_than_echo(sound_dbfs, silent_dbfs, QUIET_DBFS)
    assert not echo.is_louder_than_echo(sound_dbfs, AUDIBLE_DBFS, QUIET_DBFS)
    for _ in range(WINDOW_FRAMES):
        echo.learn(-80.0, silent_dbfs, QUIET_DBFS)
    assert echo.return_loss_db == LOWEST_DB


def test_silence_is_nobodys_speech() -> None:
    echo = EchoGuard()
    assert not echo.is_louder_than_echo(SOUND_DBFS, -100.0, QUIET_DBFS)
    assert echo.is_louder_than_echo(SOUND_DBFS + 0.001, -100.0, QUIET_DBFS)


def test_the_noise_of_the_line_is_nobodys_speech() -> None:
    echo = EchoGuard()
    assert not echo.is_louder_than_echo(-40.0 + SOUND_OVER_FLOOR_DB, -100.0, -40.0)
    assert echo.is_louder_than_echo(-40.0 + SOUND_OVER_FLOOR_DB + 0.001, -100.0, -40.0)


def test_noise_that_hides_the_echo_counts_as_the_highest_loss() -> None:
    hidden, heard = EchoGuard(), EchoGuard()
    for _ in range(FEWEST_FRAMES):
        hidden.learn(-35.0, -20.0, -35.0 - ECHO_OVER_FLOOR_DB)
        heard.learn(-35.0, -20.0, -35.0 - ECHO_OVER_FLOOR_DB - 0.001)
    assert hidden.return_loss_db == HIGHEST_DB
    assert heard.return_loss_db == 15.0
