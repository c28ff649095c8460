"""Memory: running out of it, told in words that help, and using again what was freed."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from ..errors import ResourceError

KEPT = 2**29  # bytes


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turn Python's and torch's out-of-memory errors into a `ResourceError` that says what to do."""
    try:
        yield
    except ResourceError:
        raise
    except MemoryError as error:
        raise ResourceError(_message(what, "memory")) from error
    except RuntimeError as error:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(error, torch.OutOfMemoryError):
            raise ResourceError(_message(what, "GPU memory")) from error
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise ResourceError(_message(what, "memory")) from error
        raise


def _message(what: str, kind: str) -> str:
    advice = "run on the CPU (--device cpu), " if kind == "GPU memory" else "close other programs, "
    return f"not enough {kind} for {what}: {advice}use fewer examples, or crop or bin the image."


@cache
def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next tensor instead of giving it back; return whether it does.

    Tensors of a few megabytes come and go all the time; fetching fresh pages from the system for each of them took
    up to four fifths of the time of a filter response. Only glibc (Linux) is told; up to `KEPT` bytes are kept.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    trim_threshold, mmap_threshold = -1, -3  # names of the options in malloc.h
    return bool(mallopt(mmap_threshold, KEPT) and mallopt(trim_threshold, KEPT))
