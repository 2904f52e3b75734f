"""Between the call's audio and the model's, for a model that does not speak the carrier's mu-law.

A call is mu-law at 8000 Hz from the carrier to the playback ledger: one byte is an eighth of a millisecond. A session in A-law
or in PCM at 24000 Hz is converted at its own socket, so nothing else learns of it, and a session in mu-law has no `Transcoder`
(`server/transcoding.py`).

What comes from the model is converted item by item, as a stream: deltas join without a click, and an item of n samples becomes
exactly n // 3 bytes. The filter's delay of 0.9 ms is taken out at the item's beginning and made up for at its end, which is why
an item's end may bring a last piece of speech. So a position in the call's audio is the same position in the model's, and
`conversation.item.truncate` names what was heard to the millisecond, and never more than there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import define, field

from trio_voice.audio.g711 import alaw_to_pcm16, pcm16_to_alaw, pcm16_to_ulaw, ulaw_to_pcm16
from trio_voice.audio.resample import Downsampler24To8, Upsampler8To24
from trio_voice.core.events import ModelAudio, ModelAudioEnded, ResponseDone
from trio_voice.realtime.codec import Decoded
from trio_voice.realtime.settings import AudioFormat

_EVERY_BYTE = bytes(range(256))
ULAW_TO_ALAW = pcm16_to_alaw(ulaw_to_pcm16(_EVERY_BYTE))
ALAW_TO_ULAW = pcm16_to_ulaw(alaw_to_pcm16(_EVERY_BYTE))
"""Tables for bytes.translate: G.711 to G.711 is one look-up a sample."""
FILTER_DELAY_SAMPLES = 7
"""At 8000 Hz; that of `Downsampler24To8`, whose exact delay is 21.5 samples at 24000 Hz."""
_ITEMS_LIMIT = 16
"""More items are not spoken side by side by anybody; the oldest is forgotten."""


@define
class _SpokenItem:
    """One item's way from PCM at 24000 Hz to mu-law."""

    response_id: str
    _down: Downsampler24To8 = field(factory=Downsampler24To8, init=False)
    _half: bytes = field(default=b"", init=False)
    _to_skip: int = field(default=FILTER_DELAY_SAMPLES, init=False)

    def convert(self, pcm16: bytes) -> bytes:
        """Take a delta in, which may end in the middle of a sample, and return what is settled by now."""
        joined = self._half + pcm16
        whole = len(joined) & ~1
        self._half = joined[whole:]
        ulaw = pcm16_to_ulaw(self._down.convert(joined[:whole]))
        skipped = min(self._to_skip, len(ulaw))
        self._to_skip -= skipped
        return ulaw[skipped:]

    def flush(self) -> bytes:
        """Return the last millisecond, which the filter has kept back."""
        self._half = b""
        return self.convert(bytes(FILTER_DELAY_SAMPLES * 3 * 2))


@define
class Transcoder:
    """Converts the audio of one session in both directions."""

    input_format: AudioFormat
    output_format: AudioFormat
    _up: Upsampler8To24 = field(factory=Upsampler8To24, init=False)
    _items: dict[str, _SpokenItem] = field(factory=dict, init=False)

    def to_model(self, ulaw: bytes) -> bytes:
        """Convert the caller's mu-law to the session's input format: as many bytes of G.711, six times as many of PCM."""
        if self.input_format is AudioFormat.PCMU:
            return ulaw
        if self.input_format is AudioFormat.PCMA:
            return ulaw.translate(ULAW_TO_ALAW)
        return self._up.convert(ulaw_to_pcm16(ulaw))

    def from_model(self, facts: Iterable[Decoded]) -> Iterator[Decoded]:
        """Pass on what the model said, its speech in mu-law; an item's last piece comes before its end."""
        if self.output_format is AudioFormat.PCMU:
            yield from facts
        elif self.output_format is AudioFormat.PCMA:
            for fact in facts:
                yield _with_audio(fact, fact.audio.translate(ALAW_TO_ULAW)) if isinstance(fact, ModelAudio) else fact
        else:
            for fact in facts:
                yield from self._from_pcm(fact)

    def _from_pcm(self, fact: Decoded) -> Iterator[Decoded]:
        if isinstance(fact, ModelAudio):
            ulaw = self._item(fact).convert(fact.audio)
            if ulaw:
                yield _with_audio(fact, ulaw)
            return
        if isinstance(fact, ModelAudioEnded):
            item = self._items.pop(fact.item_id, None)
            if item is not None and (rest := item.flush()):
                yield ModelAudio(fact.session, fact.response_id, fact.item_id, rest)
        elif isinstance(fact, ResponseDone):
            self._items = {item_id: item for item_id, item in self._items.items() if item.response_id != fact.response_id}
        yield fact

    def _item(self, fact: ModelAudio) -> _SpokenItem:
        item = self._items.get(fact.item_id)
        if item is None:
            while len(self._items) >= _ITEMS_LIMIT:
                del self._items[next(iter(self._items))]
            item = self._items[fact.item_id] = _SpokenItem(fact.response_id)
        return item


def _with_audio(event: ModelAudio, ulaw: bytes) -> ModelAudio:
    return ModelAudio(event.session, event.response_id, event.item_id, ulaw)
