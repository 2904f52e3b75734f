"""What a user writes: an agent, its tools."""
