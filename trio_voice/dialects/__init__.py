"""Pure codecs of telephone media streams: one file each, with declared capabilities."""

from trio_voice.dialects.registry import DIALECTS, dialect_at_path, dialect_named

__all__ = ["DIALECTS", "dialect_at_path", "dialect_named"]
