from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.keypad import LONGEST, Keypad
from trio_voice.core.settings import CallSettings


def test_keys_are_collected_until_a_pause() -> None:
    keypad = Keypad(CallSettings(digits_pause_s=1.5), Deadlines())
    assert not keypad.press("1", 0.0)
    assert not keypad.press("2", 1.0)
    assert (keypad.pressed, keypad.deadlines.at(Timer.DIGITS)) == ("12", 2.5)
    assert keypad.take() == "12"
    assert (keypad.pressed, keypad.deadlines.at(Timer.DIGITS)) == ("", None)


def test_a_hash_ends_it() -> None:
    keypad = Keypad(CallSettings(), Deadlines())
    assert [keypad.press(key, 0.0) for key in "1*#"] == [False, False, True]
    assert keypad.take() == "1*#"


def test_they_are_bounded() -> None:
    keypad = Keypad(CallSettings(), Deadlines())
    for _ in range(LONGEST + 1):
        keypad.press("7", 0.0)
    assert keypad.take() == "7" * LONGEST
