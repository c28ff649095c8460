"""``incontext-seg weights``: which weights there are, and bringing them onto this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import InContextError, ModelError
from .progress import hidden_if_unused

if TYPE_CHECKING:
    from ..model.download import Progress

app = typer.Typer(help="List, fetch and check published weights.", no_args_is_help=True)

NAME = typer.Argument(..., metavar="NAME", help="A name that `weights list` shows.")


@app.command("list")
def list_weights() -> None:
    """Show known weights: size, licence, and whether they are on this machine."""
    from rich.console import Console
    from rich.table import Column, Table

    from ..model.weights import find, find_record, known_weights, weights_directory

    table = Table(Column("name", no_wrap=True), "size", "licence", "here", "SHA-256", box=None, pad_edge=False)
    for weights in known_weights():
        record = find_record(weights.name) if find(weights.name) else None
        digest = weights.digest or (record.digest if record else None)
        table.add_row(
            weights.name,
            weights.size_text,
            weights.licence,
            "yes" if find(weights.name) else "no",
            (f"{digest[:12]} " if digest else "") + ("" if weights.digest else "unverified"),
        )
    console = Console()
    console.print(table)
    console.print(f"Folder: {weights_directory()}", soft_wrap=True, highlight=False)
    console.print("unverified: the publisher states no digest; the one recorded at the first fetch is checked instead.")


@app.command()
def fetch(
    name: str = NAME,
    source: Path | None = typer.Option(None, "--from", metavar="FILE", help="Copy this file instead of downloading."),
) -> None:
    """Download weights into the user's cache (or copy them with --from); an interrupted download resumes."""
    from ..model.weights import fetch as fetch_weights
    from ..model.weights import find_record, known_weights

    known = next((w for w in known_weights() if w.name == name), None)
    if known is not None:  # an unknown name is refused below
        print(f"{name}: {known.size_text}, licence {known.licence}, from {source or known.url()}")
    with _progress(name) as progress:
        path = fetch_weights(name, source=source, progress=progress)
    print(path)
    record = find_record(name)
    if known is not None and record is not None:
        state = "verified" if known.digest else "unverified: its publisher states none; recorded for later checks"
        print(f"SHA-256 {record.digest} ({state})")


@app.command()
def verify(name: str | None = typer.Argument(None, metavar="[NAME]", help="Default: all on this machine.")) -> None:
    """Check that fetched weights are unchanged."""
    from ..model.weights import find, known_weights
    from ..model.weights import verify as verify_weights

    published = {w.name: w.digest for w in known_weights()}
    names = [name] if name is not None else [n for n in published if find(n)]
    if not names:
        print("No weights are on this machine.")
    failures = []
    for each in names:
        try:
            record = verify_weights(each)
        except InContextError as error:
            failures.append(error)
            continue
        state = "verified" if published[each] else f"unchanged since {record.date} (unverified: no published digest)"
        print(f"{each}: {state}, SHA-256 {record.digest}")
    if len(failures) > 1:
        raise ModelError(" ".join(str(f) for f in failures))
    if failures:
        raise failures[0]


@app.command("path")
def show_path(name: str = NAME) -> None:
    """Print where fetched weights lie."""
    from ..model.weights import find, path

    if find(name) is None:
        raise ModelError(
            f"the weights {name} are not on this machine (they would be {path(name)}): "
            f"run `incontext-seg weights fetch {name}`."
        )
    print(path(name))


@contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """A bar of bytes on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        with hidden_if_unused(bar):
            yield lambda done, total: bar.update(task, completed=done, total=total)
