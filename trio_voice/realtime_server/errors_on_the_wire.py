"""The errors of the Realtime protocol: their codes, texts and shapes, each in one place.

Source: OpenAI Realtime API reference, and what the service was seen to answer. An error event never ends a session by itself;
those that do are `Refusal`s and carry the close code that follows (reason: the error's type, and its code after a dot).
"""

from __future__ import annotations

from typing import Any

from attrs import define, frozen

from trio_voice.errors import RemoteProtocolError

INVALID_REQUEST = "invalid_request_error"


@define
class ClientError(RemoteProtocolError):
    """A client event cannot be obeyed: it is answered with one `error` event and changes nothing."""

    message: str
    code: str | None = None
    param: str | None = None
    type: str = INVALID_REQUEST

    def wire(self, client_event_id: str | None) -> dict[str, Any]:
        """Return the `error` object of the `error` event; `client_event_id` is the offending event's own id, if it had one."""
        return {
            "type": self.type,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": client_event_id,
        }


@frozen
class Refusal:
    """An error that ends the connection: an `error` event, then CLOSE."""

    error: ClientError
    close_code: int
    close_reason: str

    @classmethod
    def after(cls, error: ClientError, close_code: int) -> Refusal:
        """Build one whose close reason follows the service's rule: type, or type.code."""
        return cls(error, close_code, error.type if error.code is None else f"{error.type}.{error.code}")


# --- the connection ----------------------------------------------------------------------------------------------------


def no_authorization() -> Refusal:
    """No Authorization header (nor a browser's key subprotocol)."""
    return Refusal.after(ClientError("Missing bearer or basic authentication in header"), 3000)


def invalid_api_key(key: str) -> Refusal:
    """The key is not the expected one; like the service, the text shows only the key's ends."""
    shown = f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 16 else "*" * len(key)
    text = f"Incorrect API key provided: {shown}. You can find your API key at https://platform.openai.com/account/api-keys."
    return Refusal.after(ClientError(text, "invalid_api_key"), 3000)


def invalid_model(model: str) -> Refusal:
    """The model is unknown, or is not one that converses."""
    text = (
        f'Model "{model}" is not supported in realtime mode. '
        "See https://platform.openai.com/docs/models for a list of supported models."
    )
    return Refusal.after(ClientError(text, "invalid_model"), 4000)


def missing_model() -> Refusal:
    """No `model` in the URL's query."""
    text = "You must provide a model parameter, for example wss://api.openai.com/v1/realtime?model=gpt-realtime-1.5"
    return Refusal.after(ClientError(text, "missing_model"), 4000)


def beta_disabled() -> Refusal:
    """The client asked for the beta interface (header or subprotocol)."""
    text = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
    return Refusal.after(ClientError(text, "beta_api_shape_disabled"), 4000)


def insufficient_quota() -> Refusal:
    """No money: the one error with 1013."""
    text = (
        "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
        "read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
    )
    return Refusal.after(ClientError(text, "insufficient_quota", type="insufficient_quota"), 1013)


def session_expired(minutes: float) -> Refusal:
    """The session reached its longest duration; here the text itself is the close reason."""
    text = f"Your session hit the maximum duration of {minutes:g} minutes."
    return Refusal(ClientError(text, "session_expired"), 1001, text)


# --- the shape of a client event ---------------------------------------------------------------------------------------


def invalid_json(detail: str) -> ClientError:
    """A text frame that is no JSON."""
    return ClientError(f"Invalid event: failed to parse JSON value. {detail}", "invalid_json")


def binary_frame() -> ClientError:
    """A binary WebSocket message."""
    return ClientError("Expected a text WebSocket message; binary frames are not supported.", "invalid_event")


def type_missing() -> ClientError:
    """An event without `type`."""
    return ClientError("The 'type' field is missing.", "invalid_event")


def missing_parameter(param: str) -> ClientError:
    """A required field is not there."""
    return ClientError(f"Missing required parameter: '{param}'.", "missing_required_parameter", param)


def unknown_parameter(param: str) -> ClientError:
    """A field that the protocol does not know."""
    return ClientError(f"Unknown parameter: '{param}'.", "unknown_parameter", param)


def unsupported_parameter(param: str) -> ClientError:
    """A field that this model does not have."""
    return ClientError(f"Unsupported parameter: '{param}' is not supported with this model.", "unsupported_parameter", param)


def invalid_type(param: str, expected: str, got: str) -> ClientError:
    """A field of the wrong JSON type; `expected` and `got` come with their article."""
    return ClientError(f"Invalid type for '{param}': expected {expected}, but got {got} instead.", "invalid_type", param)


def invalid_value(param: str, value: str, supported: tuple[str, ...]) -> ClientError:
    """A value that is none of the supported ones."""
    quoted = [f"'{each}'" for each in supported]
    if len(quoted) == 1:
        listed = f"Value must be {quoted[0]}."
    elif len(quoted) == 2:
        listed = f"Supported values are: {quoted[0]} and {quoted[1]}."
    else:
        listed = f"Supported values are: {', '.join(quoted[:-1])}, and {quoted[-1]}."
    return ClientError(f"Invalid value: '{value}'. {listed}", "invalid_value", param)


def out_of_range(param: str, number: float, bound: float, kind: str, below: bool) -> ClientError:
    """A number (`kind`: integer or decimal) beyond its bound."""
    side, sign, code = ("below minimum", ">=", "below_min_value") if below else ("above maximum", "<=", "above_max_value")
    text = f"Invalid '{param}': {kind} {side} value. Expected a value {sign} {bound:g}, but got {number:g} instead."
    return ClientError(text, f"{kind}_{code}", param)


def string_too_long(param: str, limit: int, length: int) -> ClientError:
    """A string beyond its longest length."""
    text = (
        f"Invalid '{param}': string too long. Expected a string with maximum length {limit}, "
        f"but got a string with length {length} instead."
    )
    return ClientError(text, "string_above_max_length", param)


def array_too_long(param: str, limit: int, length: int) -> ClientError:
    """An array (or an object's pairs) beyond its longest length."""
    text = (
        f"Invalid '{param}': array too long. Expected an array with maximum length {limit}, "
        f"but got an array with length {length} instead."
    )
    return ClientError(text, "array_above_max_length", param)


# --- the conversation --------------------------------------------------------------------------------------------------


def cannot_update_voice() -> ClientError:
    """The voice is locked once the assistant has spoken; the whole update is lost."""
    return ClientError("Cannot update a conversation's voice if assistant audio is present.", "cannot_update_voice")


def already_active(response_id: str) -> ClientError:
    """One response at a time in the default conversation."""
    text = (
        f"Conversation already has an active response in progress: {response_id}. "
        "Wait until the response is finished before creating a new one."
    )
    return ClientError(text, "conversation_already_has_active_response")


def cancel_not_active() -> ClientError:
    """Nothing to cancel."""
    return ClientError("Cancellation failed: no active response found", "response_cancel_not_active")


def commit_empty(buffered_ms: float) -> ClientError:
    """A commit needs at least 100 ms of audio."""
    text = (
        "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
        f"but buffer only has {buffered_ms:.2f}ms of audio."
    )
    return ClientError(text, "input_audio_buffer_commit_empty")


def truncate_unknown_item(item_id: str) -> ClientError:
    """Truncate: no such item."""
    return ClientError(f"Error truncating item: the item with id '{item_id}' does not exist.", "item_truncate_invalid_item_id")


def truncate_not_audio() -> ClientError:
    """Truncate: the item is no model's audio, or has none yet."""
    return ClientError("Only model output audio messages can be truncated", "unsupported_content_type")


def truncate_too_long(exists_ms: int, asked_ms: int, code: str | None) -> ClientError:
    """Truncate beyond the audio that exists; first what exists, then what was asked for."""
    return ClientError(f"Audio content of {exists_ms}ms is already shorter than {asked_ms}ms", code)


def retrieve_unknown_item(item_id: str) -> ClientError:
    """Retrieve: no such item."""
    return ClientError(f"Error retrieving item: the item with id '{item_id}' does not exist.", "item_retrieve_invalid_item_id")


def delete_unknown_item(item_id: str) -> ClientError:
    """Delete: no such item."""
    return ClientError(f"Error deleting item: the item with id '{item_id}' does not exist.", "item_delete_invalid_item_id")


def unknown_previous_item(item_id: str) -> ClientError:
    """Create: the item to insert after does not exist."""
    return ClientError(
        f"Error adding item: the previous item with id '{item_id}' does not exist.", "item_create_invalid_previous_item_id"
    )


def unknown_call_id(call_id: str) -> ClientError:
    """A function's output for a call that the conversation does not hold."""
    return ClientError(f"Tool call ID '{call_id}' not found in conversation.", "invalid_tool_call_id")
