"""Numbers wide enough to be solved with, and none so small that they only take time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

RESPONSE = 0.1  # seconds: who only waits is not interrupted on Windows
T = TypeVar("T")
Interrupted: TypeAlias = Callable[[], bool]


def wide(sums: Tensor) -> Tensor:
    """In float64, which mps does not have: there on the CPU."""
    return (sums.cpu() if sums.device.type == "mps" else sums).double()


def without_subnormals(work: Callable[[Interrupted], T]) -> T:
    """Return what ``work`` does with floats below 1e-38 taken for 0.

    The gradients of GELU and softmax are full of them, and a core takes a hundred times as long for each: on two cores
    learning is three times as fast without. OpenMP's threads take this over from the thread that first needs them, so
    the work is done in one of its own. It is handed what says whether the caller was interrupted, and it has to end.
    """
    interrupted = Event()
    with ThreadPoolExecutor(1, initializer=torch.set_flush_denormal, initargs=(True,)) as fresh:
        try:
            outcome = fresh.submit(work, interrupted.is_set)
            while not wait([outcome], timeout=RESPONSE).done:
                pass
            return outcome.result()
        except KeyboardInterrupt:
            interrupted.set()
            raise
