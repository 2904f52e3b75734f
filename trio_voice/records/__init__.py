"""What is known of every call, in a database: who called, what was said, how it ended, how long everything took."""
