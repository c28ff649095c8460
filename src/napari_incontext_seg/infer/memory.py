"""Running out of memory: less at a time, and where that does not help, told in words that do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from ..errors import DegradedDataWarning, ResourceError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Portion:
    """How much is done at a time. Each time memory runs out it is halved for good, and a warning says so.

    Parameters
    ----------
    size
        To begin with.
    what
        What it counts, in the plural.
    least
        Below this there is no sense in trying.
    """

    def __init__(self, size: int, what: str, least: int = 1) -> None:
        self.size, self.what, self.least = size, what, least

    def attempt(self, work: Callable[[int], Result]) -> Result:
        """Call ``work`` with the size, until it fits into memory. Raises what it raised if no size does."""
        while True:
            try:
                return work(self.size)
            except (MemoryError, RuntimeError) as error:
                if self.size <= self.least or isinstance(error, ResourceError) or short_memory(error) is None:
                    raise
            # here, and not above: the error held on to what had been made until then
            self.size = max(self.least, self.size // 2)
            _release()
            warnings.warn(
                f"memory ran out: going on with at most {self.size} {self.what} at a time.",
                DegradedDataWarning,
                stacklevel=2,
            )

    def portions(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> Iterator[Result]:
        """The results of ``work``, a result for each item, on as many items at a time as fit into memory."""
        done = 0
        while done < len(items):
            results = self.attempt(lambda size, rest=items[done:]: work(rest[:size]))  # type: ignore[misc]
            done += len(results)
            yield from results


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turn Python's and torch's out-of-memory errors into a `ResourceError` that says what to do."""
    try:
        yield
    except ResourceError:
        raise
    except (MemoryError, RuntimeError) as error:
        kind = short_memory(error)
        if kind is None:
            raise
        raise ResourceError(_message(what, kind)) from error


def short_memory(error: Exception) -> str | None:
    """Which memory ran out, None if that is not what an error says."""
    if isinstance(error, MemoryError):
        return "memory"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return "GPU memory"
    told = "can't allocate memory" in str(error) or "not enough memory" in str(error)
    return "memory" if isinstance(error, RuntimeError) and told else None


def _release() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _message(what: str, kind: str) -> str:
    advice = "run on the CPU (--device cpu), " if kind == "GPU memory" else "close other programs, "
    return f"not enough {kind} for {what}: {advice}use fewer examples, or crop or bin the image."
