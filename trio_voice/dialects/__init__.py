"""Pure codecs of telephone media streams: one file each, with declared capabilities."""
