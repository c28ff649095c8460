"""The progress bar of the command line, on standard error so that standard output stays clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def progress_bar(total: int, unit: str) -> Iterator[Callable[[], None]]:
    """Yield a function that advances the bar by one; a bar that never was is taken away at the end."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(unit, total=total)
        with hidden_if_unused(bar):
            yield lambda: bar.advance(task)


@contextmanager
def hidden_if_unused(bar: Progress) -> Iterator[None]:
    """Take a bar that has not moved away at its end, so that none stands there empty."""
    try:
        yield
    finally:
        bar.live.transient = not any(task.completed for task in bar.tasks)
