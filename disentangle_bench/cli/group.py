"""The command `bench` itself: what every command shares when it is called."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any

import click

from disentangle_bench.errors import BenchError
from disentangle_bench.shown import printable, wrapped
from disentangle_bench.streams import go_on_unread, open_closed
from disentangle_bench.version import __version__


class Mistake(click.ClickException):
    """A user's mistake: its message alone, exit code 2."""

    exit_code = 2

    def format_message(self) -> str:
        """The message, broken between words in a terminal."""
        return wrapped(self.message, sys.stderr, indent=len("Error: "))


class Group(click.Group):
    """Commands whose BenchErrors are shown as messages, and whose Ctrl-C says how to go on."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        open_closed()
        go_on_unread("stderr")  # no command ends because nobody reads its messages
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a path need not be text
        try:
            return super().invoke(ctx)
        except BenchError as error:
            raise Mistake(printable(str(error))) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever read the output has seen enough; click knows what to do
            what = f"{error.filename}: " if error.filename else ""
            raise Mistake(printable(f"{what}{error.strerror or error}")) from error
        except KeyboardInterrupt:
            message = "Stopped. Finished runs are kept; the same command goes on from there."
            click.echo("\n" + wrapped(message, sys.stderr), err=True)
            sys.exit(130)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Train VAEs over grids of settings and seeds, and measure whether what they learned is disentangled."""
