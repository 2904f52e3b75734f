import pytest

from trio_voice.core.echo import (
    AUDIBLE_DBFS,
    FEWEST_FRAMES,
    HIGHEST_DB,
    LOWEST_DB,
    MARGIN_DB,
    START_DB,
    WINDOW_FRAMES,
    EchoGuard,
)


def taught(loss_db: float, frames: int = FEWEST_FRAMES) -> EchoGuard:
    echo = EchoGuard()
    for _ in range(frames):
        echo.learn(-20.0 - loss_db, -20.0)
    return echo


def test_the_loss_is_assumed_until_it_is_known() -> None:
    assert taught(25.0, FEWEST_FRAMES - 1).return_loss_db == START_DB
    assert taught(25.0).return_loss_db == 25.0


@pytest.mark.parametrize(("true_db", "kept_db"), [(40.0, HIGHEST_DB), (2.0, LOWEST_DB), (30.0, 30.0), (6.0, 6.0)])
def test_the_loss_is_bounded(true_db: float, kept_db: float) -> None:
    assert taught(true_db).return_loss_db == kept_db


def test_it_is_the_20th_percentile() -> None:
    echo = EchoGuard()
    for number in range(100):
        echo.learn(-40.0 - number / 10, -20.0)
    assert echo.return_loss_db == pytest.approx(22.0)


def test_it_forgets_after_five_seconds() -> None:
    echo = taught(10.0, WINDOW_FRAMES)
    for _ in range(WINDOW_FRAMES):
        echo.learn(-45.0, -20.0)
    assert echo.return_loss_db == 25.0


def test_louder_is_more_than_the_echo_and_a_margin() -> None:
    echo = taught(20.0)
    border = -20.0 - 20.0 + MARGIN_DB
    assert not echo.is_louder_than_echo(border, -20.0)
    assert echo.is_louder_than_echo(border + 0.001, -20.0)


def test_an_agent_that_is_not_heard_has_no_echo() -> None:
    agent_dbfs = AUDIBLE_DBFS - 0.001
    echo = taught(10.0)
    assert echo.is_louder_than_echo(-90.0, agent_dbfs)
    echo.learn(-90.0, agent_dbfs)
    assert echo.return_loss_db == 10.0
    assert not echo.is_louder_than_echo(-90.0, AUDIBLE_DBFS)
