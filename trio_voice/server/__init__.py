"""The Trio shell: listeners, one runner per call, outboxes, model sessions."""
