"""`python -m trio_voice`."""

from trio_voice.cli import main

main(prog_name="python -m trio_voice")
