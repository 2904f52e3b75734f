"""A real media-stream caller: reads a WAV, speaks, listens, writes what it heard."""
