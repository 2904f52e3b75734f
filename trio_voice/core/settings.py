"""Every number that a call's behaviour depends on, in one frozen class. Units are in the names."""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import field, frozen, validators


class Turns(Enum):
    """Who decides when a reply is asked for and cut off."""

    OURS = "ours"
    MODEL = "model"


def _seconds(default: float) -> Any:  # the type of attrs' own field()
    return field(default=default, validator=validators.ge(0.0), converter=float)


@frozen(kw_only=True)
class CallSettings:
    """How one call behaves. The defaults suit a telephone line with a mu-law carrier and OpenAI's server VAD."""

    turns: Turns = Turns.OURS
    """`ours`: the guard asks for and cuts off replies. `model`: the model does, and the guard mirrors it."""

    # --- barge-in
    cancel_cooldown_s: float = _seconds(0.2)
    """After a barge-in acted, further speech-started events within this time cause no action."""
    calibration_min_frames: int = field(default=10, validator=validators.ge(1))
    """Usable caller frames (20 ms each) after which the noise floor counts as known."""
    calibration_limit_s: float = _seconds(3.0)
    """Calibration ends by itself this long after the call's start, whatever was heard."""
    require_user_has_spoken: bool = False
    """Barge-in counts only once the caller has spoken a turn of their own."""
    barge_in_min_level_db: float | None = None
    """Barge-in counts only when the caller's recent level is this far above the noise floor. None: any level."""
    barge_in_confirm_ms: int = field(default=0, validator=validators.ge(0))
    """A barge-in stops the sound at once and is confirmed by this much speech; 0: confirmed at once, not reversible."""
    echo_guard: bool = True
    """Weigh the caller's level against what the agent is heard to say, so that its echo neither interrupts it nor is answered."""

    # --- greeting
    greeting: bool = True
    """The agent speaks first."""
    greeting_interruptible: bool = False
    """A caller may cut the greeting off."""

    # --- turns
    turn_end_s: float = _seconds(0.15)
    """From speech-stopped to the request of a reply; speech that resumes before continues the turn. The model's own silence
    (`vad_silence_ms`) comes before it: together at most 500 ms by default."""
    vad_silence_ms: int = field(default=350, validator=validators.ge(0))
    """How much silence the model's voice detector waits for before it reports the end of speech."""
    vad_threshold: float = field(default=0.5, validator=[validators.ge(0.0), validators.le(1.0)])
    """The model's voice detector: higher needs louder speech."""
    vad_prefix_ms: int = field(default=300, validator=validators.ge(0))
    """How much audio before the detected start of speech belongs to the turn."""
    watchdog_s: float = _seconds(3.0)
    """A committed turn without a reply is asked for again after this time."""
    watchdog_retries: int = field(default=2, validator=validators.ge(0))
    """How often the watchdog asks again for one turn."""

    # --- waiting states of a response
    created_limit_s: float = _seconds(5.0)
    """response.create was sent and no response.created came: give it up and ask again."""
    first_audio_limit_s: float = _seconds(8.0)
    """A response was created and neither speech, text nor a tool call came: cancel it and ask again."""
    blocked_limit_s: float = _seconds(1.5)
    """A request was refused because of a response that we do not know: wait so long for its end, then stop it or ask again."""
    audio_gap_limit_s: float = _seconds(4.5)
    """A response stopped in mid-reply: cancel it and go on with what was said."""
    done_limit_s: float = _seconds(3.0)
    """response.cancel was sent and no response.done came: treat the response as over."""
    failed_retries: int = field(default=3, validator=validators.ge(0))
    """How often a failed response is asked for again."""
    failed_backoff_s: float = _seconds(0.5)
    """The pause before the first such retry; it doubles with each."""
    tool_limit_s: float = _seconds(20.0)
    """A tool that has not answered after this time is reported to the model as failed."""

    # --- playback
    mark_every_ms: int = field(default=200, validator=validators.ge(20))
    """A playback mark is sent after this much audio, and after the last audio of an item."""
    mark_grace_s: float = _seconds(2.0)
    """A mark that is not echoed this long after its audio should have been heard is taken as played."""

    unheard_limit_s: float = _seconds(300.0)
    """A model that is this far ahead of the caller's ear is stopped. (A carrier's buffer holds ten minutes.)"""

    # --- digits and injected texts
    digits_pause_s: float = _seconds(1.5)
    """Pressed keys are handed to the model together after this pause, or at once after a #."""
    injected_text_wait_s: float = _seconds(2.0)
    """How long a text to be spoken waits for the active response before it cuts it off."""

    # --- end of the call
    hang_up_fallback_s: float = _seconds(6.0)
    """A polite hang-up happens this long after it was asked for, if the goodbye's mark never comes."""
    hang_up_return_s: float = _seconds(0.5)
    """A caller who speaks during the goodbye keeps the call until this long before its end (the point of no return)."""
    hang_up_keep_on_speech: bool = True
    """A caller who speaks during the goodbye keeps the call."""
    hang_up_limit_s: float = _seconds(5.0)
    """The carrier's confirmation of a hang-up is awaited this long; then the line is closed without it."""
    idle_s: float = _seconds(10.0)
    """Silence of both sides after which the agent asks whether the caller is still there; 0: never (a quiet line then waits for
    the caller until the longest call is over)."""
    idle_prompts: int = field(default=2, validator=validators.ge(0))
    """How many such prompts; after them the call is ended politely."""
    speech_limit_s: float = _seconds(60.0)
    """Speech that is never reported to stop is taken as over after this time."""
    commit_limit_s: float = _seconds(1.0)
    """A turn that ended and is not committed by the model within this time is dropped."""
    media_limit_s: float = _seconds(30.0)
    """A carrier that sends no audio for this long is taken as gone."""
    longest_call_s: float = _seconds(3600.0)
    """The longest call; it is announced before it ends."""
    longest_call_notice_s: float = _seconds(30.0)
    """How long before its end the longest call is announced."""

    # --- the model's session
    change_limit_s: float = _seconds(3.0)
    """How long the model may take to let a session have another voice or agent; then it stays as it was."""
    words_limit_s: float = _seconds(1.0)
    """How long a session that is to take over waits for the text of what the caller said last."""
    comfort_after_s: float = _seconds(1.5)
    """A caller who hears nothing because there is no session hears a soft sound after this time, and again every so often."""
    session_ready_limit_s: float = _seconds(10.0)
    """How long the opening of a session may take."""
    gap_audio_ms: int = field(default=5000, validator=validators.ge(0))
    """How much of the caller's voice is kept while there is no session; older audio is dropped."""
    first_session_limit_s: float = _seconds(3.5)
    """How long a caller who has just been answered waits, in silence, for the first session; then the call is ended with an
    apology."""
    reconnect_limit_s: float = _seconds(10.0)
    """How long a call whose session was lost lives without one before it is ended with an apology."""
    reconnect_backoff_s: float = _seconds(0.25)
    """The pause before the second attempt to reconnect; it doubles with each."""
    session_age_limit_s: float = _seconds(55 * 60.0)
    """A session is renewed between turns once it is this old (OpenAI ends it after 60 minutes)."""


@frozen(kw_only=True)
class Wording:
    """What the model is told in the moments that the caller did not bring about. Each text is an instruction for one reply."""

    greeting: str = "Greet the caller in one short sentence and ask how you can help."
    """The agent's first words (an agent's own `greeting` takes its place)."""
    idle_prompt: str = "The caller has been silent for a while. Ask in one short sentence whether they are still there."
    """When the caller has been silent for `call.idle_s`."""
    farewell: str = "Say goodbye to the caller in one short sentence."
    """When the idle prompts are used up, or the longest call is over."""
    notice: str = "Tell the caller in one short sentence that this call has to end in less than a minute."
    """Shortly before the longest call is over."""
    injected_text: str = 'Say exactly this to the caller, and nothing else: "{text}"'
    """For a text that is to be spoken; {text} stands for it."""
    hand_off: str = "{before} has handed this call over to you, {after}. Say so to the caller in one short sentence and go on."
    """Told to an agent who takes a call over; {before} and {after} stand for the two names."""
    filler: str = 'Say only this to the caller, and nothing else: "{text}"'
    """For a few words while a tool or a job takes long; {text} stands for them."""
    change_failed: str = "The change of the voice or the agent could not be made ({reason}). Go on as you are."
    """Told to the model when a change that was asked for is not made; {reason} stands for why."""
    digits: str = "The caller pressed these keys: {digits}"
    """A message to the model, as the caller; {digits} stands for the keys."""
