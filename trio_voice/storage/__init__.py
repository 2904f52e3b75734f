"""What stays of a call: journal, replay, pictures, recordings."""
