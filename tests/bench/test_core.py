from collections import Counter

from bench.core import Conversation, state_kilobytes


def test_what_is_measured_is_a_conversation() -> None:
    """Every turn is answered, and every second answer is cut off."""
    lines: list[str] = []
    conversation = Conversation(lines.append)
    conversation.hold(60.0)
    asked = Counter(purpose for line in lines for purpose in ("greeting", "turn") if f'"purpose":"{purpose}"' in line)
    turns = len(conversation.spent_ns["TurnCommitted"])
    assert asked == {"greeting": 1, "turn": turns}
    cut = sum('"command":"TruncateItem"' in line for line in lines)
    assert turns // 2 - 1 <= cut <= turns // 2
    assert not any('"command":"Refuse"' in line or '"command":"Discard"' in line for line in lines)


def test_the_state_is_weighed() -> None:
    assert 1.0 < state_kilobytes(calls=3) < 100.0
