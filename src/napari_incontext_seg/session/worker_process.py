"""What runs inside a worker: the model and a run are loaded once, pieces of it painted."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from ..core.types import Predictor
from ..errors import ModelError
from ..infer.portable import load_run
from ..infer.propagate import Propagation
from ..io.spool import PlaneSpool
from .report import finished

Load: TypeAlias = Callable[[], Predictor]
Painted: TypeAlias = tuple[int, float | None, int]  # plane number, confidence (None: annotated), largest id

busy = threading.Lock()  # a worker may have threads; they are the model's


def dask_setup(_: Any) -> None:
    """Called by dask when a worker of our own starts: whoever started it sees to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def version() -> str:
    """Version of this package here."""
    import napari_incontext_seg

    return str(napari_incontext_seg.__version__)


def paint_piece(folder: str, load: Load, digest: str, positions: Sequence[int]) -> list[Painted]:
    """Paint some planes of a run into its spool.

    Parameters
    ----------
    folder
        Where the run is described, and its spool.
    load, digest
        Loads the model, and what it must be.
    positions
        Plane numbers whose predecessors are finished.

    Raises
    ------
    ModelError
        Another model is loaded here.
    FileError
        What the run needs is not seen here, or cannot be written.
    """
    with busy:
        run, spool = _joined(folder, load, digest)
        painted: list[Painted] = []
        for step in run.part(positions, spool.labels):
            largest = spool.write(step.position, step.segmentation.labels, step.segmentation.confidence)
            painted.append((step.position, finished(step).confidence, largest))
        return painted


@lru_cache(maxsize=1)
def loaded(load: Load, digest: str) -> Predictor:
    """The model, once a process, with the threads that this worker may use.

    Raises
    ------
    ModelError
        Its digest is another.
    """
    predictor = load()
    if predictor.digest != digest:
        raise ModelError(
            f"a worker has loaded {predictor.name} with the digest {predictor.digest[:12]} where the run was started "
            f"with {digest[:12]}: install the same version and the same weights there."
        )
    if (torch := sys.modules.get("torch")) is not None:
        from distributed import get_worker

        torch.set_num_threads(get_worker().state.nthreads)
    return predictor


@lru_cache(maxsize=1)
def _joined(folder: str, load: Load, digest: str) -> tuple[Propagation, PlaneSpool]:
    return load_run(Path(folder), loaded(load, digest)), PlaneSpool(Path(folder) / "spool")
