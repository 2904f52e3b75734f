"""The embedded Realtime server.

It imports only audio and errors: a server that shared our codec would agree with our mistakes.
"""
