"""``incontext-seg``: the command line, thin over the Python API."""

from __future__ import annotations

import sys

import typer

from ..errors import InContextError
from .demo import demo
from .info import info
from .propagate import propagate
from .train import train
from .weights import app as weights_app

app = typer.Typer(
    name="incontext-seg",
    help="Annotate one slice, frame or image, and a SegGPT model paints the same thing everywhere else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(propagate)
app.command()(demo)
app.command()(train)
app.command()(info)
app.add_typer(weights_app, name="weights")


@app.callback()
def _options(debug: bool = typer.Option(False, "--debug", help="Show the whole traceback of an error.")) -> None:
    """--debug is read by `main`, wherever it stands on the line; here it is only listed in the help."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 1 failed or stopped, 2 wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        result = app([a for a in arguments if a != "--debug"], prog_name="incontext-seg", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except InContextError as error:
        if debug:
            raise
        print(f"incontext-seg: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("incontext-seg: stopped.", file=sys.stderr)
        return 1
    except typer.Abort:
        return 1
    except Exception as error:
        if is_usage_error(error):
            error.show()  # type: ignore[attr-defined]
            return 2
        if debug:
            raise
        print(f"incontext-seg: unexpected {type(error).__name__}: {error} (--debug shows where)", file=sys.stderr)
        return 1


def is_usage_error(error: Exception) -> bool:
    """Whether typer refused the arguments (its click errors carry exit code 2 and can show themselves)."""
    return getattr(error, "exit_code", None) == 2 and hasattr(error, "show")
