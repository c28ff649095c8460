"""``incontext-seg``: the command line, thin over the Python API."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import InContextError
from ..infer.memory import memory_errors
from .batch import batch
from .clean import clean
from .demo import demo
from .examples import app as examples_app
from .info import info
from .propagate import propagate
from .track import track
from .train import train
from .tune import tune
from .weights import app as weights_app


class Stopped(Exception):
    """Ctrl-C: an exception that typer lets through, with what was kept of the work."""


class Commands(TyperGroup):
    """The commands. Ctrl-C in any of them is `Stopped`: typer would make it an exit code and lose its notes."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Stopped from error


app = typer.Typer(
    name="incontext-seg",
    cls=Commands,
    help="Annotate one slice, frame or image, and a model paints the same thing everywhere else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(propagate)
app.command()(batch)
app.command()(track)
app.command()(clean)
app.command()(demo)
app.command()(tune)
app.command()(train)
app.command()(info)
app.add_typer(examples_app, name="examples")
app.add_typer(weights_app, name="weights")


def _tell_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"napari-incontext-seg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show the whole traceback of an error."),
    version: bool = typer.Option(False, "--version", help="Show the version.", callback=_tell_version, is_eager=True),
) -> None:
    """--debug is read by `main`, wherever it stands on the line; here it is only listed in the help."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 1 failed or stopped, 2 wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        with warnings.catch_warnings(), memory_errors("this"):
            warnings.showwarning = show_warning
            result = app([a for a in arguments if a != "--debug"], prog_name="incontext-seg", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except InContextError as error:
        if debug:
            raise
        say("error:", error)
        return 1
    except Stopped as error:
        say("stopped.", error.__cause__ or error)
        return 1
    except typer.Abort:
        return 1
    except Exception as error:
        if is_usage_error(error):
            tell_usage(error)
            return 2
        if debug:
            raise
        say(f"unexpected {type(error).__name__} (--debug shows where):", error)
        return 1


def say(what: str, error: BaseException | str) -> None:
    """Tell an error on one line of standard error, with what was kept of the work (its notes)."""
    lines = [what, *str(error).splitlines(), *getattr(error, "__notes__", [])]
    print("incontext-seg:", *(line.strip() for line in lines if line.strip()), file=sys.stderr)


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Tell a warning on one line."""
    print("incontext-seg: warning:", *str(message).splitlines(), file=sys.stderr)


def tell_usage(error: Any) -> None:
    """Tell what typer has against the arguments; without any it shows the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        command = error.ctx.command_path if error.ctx else "incontext-seg"
        told = error.format_message().replace("Value error, ", "", 1)  # which is put before what is no choice
        say("error:", f"{told} ({command} --help)")


def is_usage_error(error: Exception) -> bool:
    """Whether typer refused the arguments (its click errors carry exit code 2 and can show themselves)."""
    return getattr(error, "exit_code", None) == 2 and hasattr(error, "show")
