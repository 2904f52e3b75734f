"""The call's state machine, without I/O: events and the time in, commands and the next deadline out.

Read in this order: `states` (the theory and the tables), `events` and `commands` (the vocabulary), `call` (the machine).
Nothing in here imports Trio, reads a clock, draws a random number, logs, or waits.
"""
