from trio_voice.core.history import LONGEST, LONGEST_TEXT, History


def test_the_order_is_that_of_the_conversation_not_of_the_transcripts() -> None:
    history = History()
    history.agent_said("a", "hel", final=False)
    history.caller_spoke("u")
    history.agent_said("b", "sure", final=False)
    history.transcribed("u", "a table please")
    history.agent_said("a", "lo", final=False)
    assert history.seed() == [("assistant", "hello"), ("user", "a table please"), ("assistant", "sure")]


def test_the_final_text_replaces_its_pieces() -> None:
    history = History()
    history.agent_said("a", "hel", final=False)
    history.agent_said("a", "hello", final=True)
    assert history.seed() == [("assistant", "hello")]


def test_words_of_what_is_not_in_the_conversation_are_ignored() -> None:
    history = History()
    history.caller_spoke("u")
    history.forget("u")
    history.transcribed("u", "(coughs)")
    assert "u" not in history
    assert history.seed() == []


def test_texts_are_bounded() -> None:
    history = History()
    history.caller_spoke("u")
    history.transcribed("u", "x" * (LONGEST_TEXT + 1))
    history.noted("t", "system", "x" * (LONGEST_TEXT + 1))
    for _ in range(LONGEST_TEXT // 1000 + 1):
        history.agent_said("a", "x" * 1000, final=False)
    assert {len(text) for _, text in history.seed()} == {LONGEST_TEXT}


def test_a_turn_without_words_is_not_told() -> None:
    history = History()
    history.caller_spoke("u")
    assert history.seed() == []


def test_a_cut_keeps_the_share_that_was_heard_to_the_last_whole_word() -> None:
    history = History()
    history.agent_said("a", "one two three four", final=True)
    history.cut("a", 500, 1000)
    assert history.seed() == [("assistant", "one two ...")]


def test_a_cut_at_the_end_or_of_nothing_known_changes_nothing() -> None:
    history = History()
    history.agent_said("a", "one two", final=True)
    history.cut("a", 1000, 1000)
    history.cut("b", 1, 2)
    assert history.seed() == [("assistant", "one two")]


def test_what_was_not_heard_at_all_was_not_said() -> None:
    history = History()
    history.agent_said("a", "one two", final=True)
    history.cut("a", 0, 1000)
    assert history.seed() == []


def test_notes_and_forgetting() -> None:
    history = History()
    history.noted("t", "system", "the caller is angry")
    history.noted("v", "user", "12#")
    history.forget("t")
    history.forget("unknown")
    assert history.seed() == [("user", "12#")]


def test_at_most_200_the_oldest_go_first() -> None:
    history = History()
    for number in range(LONGEST + 2):
        history.noted(str(number), "user", f"{number}")
    seed = history.seed()
    assert (len(seed), seed[0], seed[-1]) == (LONGEST, ("user", "2"), ("user", str(LONGEST + 1)))
