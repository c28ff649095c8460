"""Running out of memory, told in words that help."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ResourceError


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
