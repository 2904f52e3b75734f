import trio
import trio.testing

from trio_voice.agent.change import Change


async def test_a_change_that_is_made() -> None:
    change = Change()
    assert (change.is_over, change.is_made, change.failure) == (False, False, None)
    async with trio.open_nursery() as nursery:
        told: list[bool] = []

        async def wait() -> None:
            told.append(await change.wait())

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        change.end(None)
    assert told == [True]
    assert (change.is_over, change.is_made) == (True, True)


async def test_a_change_that_failed_stays_so() -> None:
    change = Change()
    change.end("refused")
    change.end(None)
    assert (await change.wait(), change.is_made, change.failure) == (False, False, "refused")
