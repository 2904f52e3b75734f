"""Whether the model can be reached, seen in virtual time; a real refusal is in tests/end_to_end."""

from __future__ import annotations

import pytest
import structlog.testing
import trio
import trio.testing
from attrs import define

from trio_voice.server import model_watch as module
from trio_voice.server.dial import ConnectFailed, Target
from trio_voice.server.model_watch import ModelWatch, connect_once

URL = "ws://model.example:9000/v1/realtime?model=m"


@define
class Model:
    """Answers connections, one after the other: at once, never, or with a failure."""

    answers: list[str | None]
    """A reason to refuse, "" to take it, None to leave it unanswered; the last one stays."""

    async def __call__(self, target: Target) -> None:
        assert target == Target.of(URL)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await trio.sleep_forever()
        if answer:
            raise ConnectFailed(answer)


async def watched(*answers: str | None, for_s: float) -> tuple[str | None, list[str]]:
    """The problem after some time, and what was logged until then."""
    watch = ModelWatch(URL, 15.0, Model(list(answers)))
    with structlog.testing.capture_logs() as logs:
        with trio.move_on_after(for_s):
            await watch.run()
    return watch.problem, [f"{line['log_level']}: {line['event']}" for line in logs]


WARNED = "warning: the model cannot be reached: callers will hear an apology; check model.url and the network"


async def test_a_model_that_takes_connections_is_no_news(autojump_clock: trio.testing.MockClock) -> None:
    assert await watched("", for_s=100.0) == (None, [])


async def test_a_refusal_is_told_at_once_and_once(autojump_clock: trio.testing.MockClock) -> None:
    assert await watched("connection refused", for_s=0.001) == ("connection refused", [WARNED])
    assert await watched("connection refused", for_s=100.0) == ("connection refused", [WARNED])


async def test_it_is_told_when_the_model_is_back(autojump_clock: trio.testing.MockClock) -> None:
    assert await watched("refused", "refused", "", for_s=29.999) == ("refused", [WARNED])
    assert await watched("refused", "refused", "", for_s=30.001) == (None, [WARNED, "info: the model can be reached again"])


async def test_a_model_that_does_not_answer_is_given_up_at_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    assert await watched(None, for_s=4.999) == (None, [])
    problem, logs = await watched(None, for_s=5.001)
    assert problem == "cannot connect to ws://model.example:9000/v1/realtime: no answer within 5 s"
    assert logs == [WARNED]


async def test_one_look_opens_a_connection_and_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def dial(target: Target, ssl_context: None) -> trio.abc.Stream:
        assert target == Target.of(URL)
        return ours

    monkeypatch.setattr(module, "dial", dial)
    await connect_once(Target.of(URL))
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")
    with trio.fail_after(1):
        assert await theirs.receive_some() == b""
