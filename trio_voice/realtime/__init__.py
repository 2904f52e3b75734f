"""Pure codec of the OpenAI Realtime wire, the client's side."""
