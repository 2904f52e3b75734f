"""Text to be spoken, cut into pieces that a voice speaks in one breath.

The unit of speaking is the sentence: it is what an engine gives the right melody to, what is worth remembering when it is said
again, and short enough that many speakers can take turns with one engine.
"""

from __future__ import annotations

import re

LONGEST_CHARACTERS = 160
_ABBREVIATIONS = frozenset({"mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "e.g", "i.e", "approx", "ext", "tel"})
_END = re.compile(r"[.!?…]+[\"')\]»”]*(?=\s)|[;:](?=\s)|\n+|[。！？]")  # noqa: RUF001 - the signs of other writings are meant
_PAUSE = re.compile(r"[,–—](?=\s)|\s(?=[-(])|[、，]")  # noqa: RUF001 - the signs of other writings are meant
_VOWELS = re.compile(r"(?i)[aeiouyäöüàáâèéêìíîòóôùúûœæаеёиоуыэюя]+")  # noqa: RUF001 - the signs of other writings are meant
_STOPS = tuple(".!?…。！？")  # noqa: RUF001 - the signs of other writings are meant
_SPOKEN = re.compile(r"[^\W_]")


def sentences(text: str) -> list[str]:
    """Cut `text` into sentences of at most 160 characters; white space is folded, control characters are dropped.

    Longer sentences are cut at a comma, else at a space, else anywhere. Pieces without a letter or a digit are dropped.
    """
    text = "".join(c if c.isprintable() or c.isspace() else " " for c in text)
    found = []
    begin = 0
    for end in _END.finditer(text):
        if end.group().startswith(".") and _ends_in_abbreviation(text[begin : end.start()]):
            continue
        found.append(text[begin : end.end()])
        begin = end.end()
    found.append(text[begin:])
    folded = (" ".join(sentence.split()) for sentence in found)
    return [part for sentence in folded for part in _shortened(sentence) if _SPOKEN.search(part)]


def _ends_in_abbreviation(sentence: str) -> bool:
    words = sentence.rsplit(maxsplit=1)
    last = words[-1].lstrip("(\"'") if words else ""
    return last.lower() in _ABBREVIATIONS or (len(last) == 1 and last.isalpha() and last.isupper() and last != "I")


def _shortened(sentence: str) -> list[str]:
    parts = []
    while len(sentence) > LONGEST_CHARACTERS:
        pauses = [pause.end() for pause in _PAUSE.finditer(sentence, 20, LONGEST_CHARACTERS)]
        space = sentence.rfind(" ", 20, LONGEST_CHARACTERS)
        cut = pauses[-1] if pauses else space if space > 0 else LONGEST_CHARACTERS
        parts.append(sentence[:cut].strip())
        sentence = sentence[cut:].strip()
    return [*parts, sentence]


def pause_s(sentence: str) -> float:
    """Return how long a speaker rests after a sentence (or a part of one), at the normal tempo."""
    return 0.3 if sentence.rstrip("\"')]»”")[-1:] in _STOPS else 0.15


def syllables(word: str) -> int:
    """Estimate how many syllables a word has (at least 1; a digit counts as one)."""
    digits = sum(c.isdigit() for c in word)
    groups = len(_VOWELS.findall(word))
    silent_e = groups > 1 and word.lower().rstrip(".,;:!?").endswith("e") and not word.lower().rstrip(".,;:!?").endswith("le")
    return max(1, digits + groups - silent_e)
