"""A real media-stream caller: speaks, listens like a person, and keeps what it heard."""
