"""The command line. A command's module is imported when it is used, so that help is there at once.

A user's mistake is one line on standard error and exit code 2, never a traceback.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from io import UnsupportedOperation

import click

from trio_voice.errors import UserError

COMMANDS = {
    "serve": ("trio_voice.serve", "Answer telephone calls: web pages and media streams on one port."),
    "call": ("trio_voice.phone.command", "Place a test call with recorded speech, and watch it."),
    "model": ("trio_voice.realtime_server.command", "Run the embedded Realtime server on its own."),
    "doctor": ("trio_voice.doctor", "Look whether calls would be answered here; say what to mend."),
    "replay": ("trio_voice.storage.replay_command", "Read a call's journal as a dialogue, and live it again."),
    "calls": ("trio_voice.calls", "List the calls that were, show one, or export them."),
}
"""Each command's module, which has the command under the command's name, and what it does."""


NEW_OBJECTS = (1_000, 3, 300)
"""The garbage collector looks at new objects when so many more were made than freed, after three times at those that it has seen
once, too, and after three hundred of these at all. Looking at a thousand takes a third of a millisecond, in which nobody is
heard: with ten thousand, a crowd of upgrades stopped all calls for up to 44 ms."""


class Mistake(click.ClickException):
    """A user's mistake, as click reports it."""

    exit_code = 2

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """Print the one line."""
        click.echo(f"trio-voice: {self.message}", err=True)


def make_way_for_a_server() -> None:
    """Before a server's modules are imported: have Rich kept out, and their 70,000 objects not looked at again and again."""
    gc.set_threshold(*NEW_OBJECTS)
    import_structlog_alone()


def import_structlog_alone() -> None:
    """Import structlog without Rich, if it is not there yet: for what a server writes Rich is not used, and it takes 3 MB.

    structlog imports it when it can, to draw tracebacks with the values of variables, which our logs must not hold.
    """
    if "rich" in sys.modules:
        return
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]  # None stands in it for a module that cannot be had
    modules["rich"] = None
    try:
        import_module("structlog")
    finally:
        del modules["rich"]


class LazyCommands(click.Group):
    """The group of commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands, in the order of a user's first day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name == "serve":
            make_way_for_a_server()
        command = vars(import_module(COMMANDS[cmd_name][0]))[cmd_name]
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or say which was meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(COMMANDS)}"
            raise Mistake(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command, and tell a slip in one line."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _in_a_line(error) from None

    def invoke(self, ctx: click.Context) -> object:
        """Run a command, and turn a user's mistake into its line, also out of the nurseries that it came through.

        Whoever reads what we print may stop reading (`| head`): then there is nobody to tell anything, and the end is quiet.
        """
        try:
            return super().invoke(ctx)
        except click.UsageError as error:  # of what stands behind the command
            raise _in_a_line(error) from None
        except UserError as error:
            raise Mistake(str(error)) from None
        except BrokenPipeError:
            _print_nowhere()
        except BaseExceptionGroup as group:
            if group.split(BrokenPipeError)[1] is None:
                _print_nowhere()
                return None
            if group.split(UserError)[1] is not None:
                raise
            raise Mistake(str(next(_leaves(group)))) from None
        return None


def _in_a_line(error: click.UsageError) -> click.ClickException:
    """Tell what was typed wrongly, and what was meant, without the usage: whoever wants that asks for it."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    where = "" if error.ctx is None else f" ({error.ctx.command_path} --help)"
    if isinstance(error, click.NoSuchOption):
        close = get_close_matches(error.option_name, error.possibilities or (), n=1)
        return Mistake(f"there is no option {error.option_name}{f'; did you mean {close[0]}?' if close else ''}{where}")
    message = error.format_message().rstrip(".")
    return Mistake(f"{message[:1].lower()}{message[1:]}{where}")


def _print_nowhere() -> None:
    """What is still to be printed, also by the interpreter's own last flush, goes where nobody reads it."""
    with suppress(UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trio-voice", prog_name="trio-voice")
def main() -> None:
    """Answer telephone calls with a speech-to-speech model.

    A mistake in a setting, a file or a flag is one line that says what to do, and exit code 2. What other exit codes mean is told
    in the help of each command.
    """
