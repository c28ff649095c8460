"""The targets of fuzzing, and how one attempt is judged: used by the tests here and by ``benchmarks/fuzz.py``.

A target makes an input that is broken or hostile, gives it to the program and checks what comes out. Allowed are a
right result and an `InContextError`; anything else is a failure: another exception, a wrong result, too long, too much
memory, code that ran.
"""

from __future__ import annotations

import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from napari_incontext_seg.errors import InContextError

SECONDS = 20.0  # more is a hang: inputs are tiny
MEMORY = 2**31  # bytes above what the process has: a header may claim any number of pixels
PROOF = "proof"  # the file that code in data would make

Verdict = Literal["right", "clear", "failed"]
Attempt = Callable[[Random, Path], None]
TARGETS: dict[str, Attempt] = {}


@dataclass(frozen=True)
class Outcome:
    """How an attempt went; ``said`` is the error, or for a failure the end of its traceback."""

    verdict: Verdict
    said: str
    seconds: float


class Overdue(BaseException):
    """An attempt takes too long. No Exception, so that nothing catches it."""


def target(name: str) -> Callable[[Attempt], Attempt]:
    """Enter a function into the registry."""

    def enter(attempt: Attempt) -> Attempt:
        TARGETS[name] = attempt
        return attempt

    return enter


def judge(attempt: Attempt, random: Random, folder: Path) -> Outcome:
    """Make one attempt in an empty folder."""
    start, said = time.perf_counter(), ""
    verdict: Verdict = "right"
    inside = folder / "inside"
    inside.mkdir()
    with warnings.catch_warnings(), _bounded():
        warnings.simplefilter("ignore")
        try:
            attempt(random, inside)
        except InContextError as error:
            verdict, said = "clear", str(error)
            if not said.strip():
                verdict, said = "failed", "an error without a message"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            verdict, said = "failed", "".join(traceback.format_exception(error))
    if any(f.name != "inside" for f in folder.iterdir()):
        verdict, said = "failed", f"escaped: {sorted(f.name for f in folder.iterdir())}"
    if (inside / PROOF).exists():
        verdict, said = "failed", "code of the file was run"
    return Outcome(verdict, said, time.perf_counter() - start)


@contextmanager
def _bounded() -> Iterator[None]:
    """Bound time and memory of what is inside (Linux)."""
    import resource

    def overdue(*_: object) -> None:
        raise Overdue(f"not done after {SECONDS:.0f} s")

    before = signal.signal(signal.SIGALRM, overdue)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
