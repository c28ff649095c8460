"""In-context segmentation: annotate one plane, and a model paints the same thing everywhere else.

The names below are loaded when first used: importing the package loads neither torch nor napari.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.cleanup import clean_up as clean_up
    from .core.stack import Stack as Stack
    from .core.tracks import Tracks as Tracks
    from .core.types import Context as Context
    from .core.types import Example as Example
    from .core.types import Predictor as Predictor
    from .core.types import Segmentation as Segmentation
    from .errors import InContextError as InContextError
    from .infer.key import Key as Key
    from .infer.model_choice import ModelChoice as ModelChoice
    from .infer.predictor import load_predictor as load_predictor
    from .infer.propagate import propagate as propagate
    from .infer.propagate import segment_images as segment_images
    from .infer.track import track as track
    from .infer.track import track_labels as track_labels
    from .infer.tuning import tune as tune
    from .io.labels import LabelWriter as LabelWriter
    from .io.samples import sample as sample
    from .io.stacks import open_images as open_images
    from .io.stacks import open_labels as open_labels
    from .io.stacks import open_stack as open_stack
    from .io.stacks import stack_from_array as stack_from_array
    from .io.track_reading import read_tracks as read_tracks
    from .io.tracks import write_tracks as write_tracks
    from .session.batch import BatchPlan as BatchPlan
    from .session.batch import run_batch as run_batch
    from .session.job import run_to_file as run_to_file
    from .session.tracks import TrackEditor as TrackEditor
    from .session.workers import Workers as Workers

_HOMES = {
    "BatchPlan": "session.batch",
    "Context": "core.types",
    "Example": "core.types",
    "InContextError": "errors",
    "Key": "infer.key",
    "LabelWriter": "io.labels",
    "ModelChoice": "infer.model_choice",
    "Predictor": "core.types",
    "Segmentation": "core.types",
    "Stack": "core.stack",
    "TrackEditor": "session.tracks",
    "Tracks": "core.tracks",
    "Workers": "session.workers",
    "clean_up": "core.cleanup",
    "load_predictor": "infer.predictor",
    "open_images": "io.stacks",
    "open_labels": "io.stacks",
    "open_stack": "io.stacks",
    "propagate": "infer.propagate",
    "read_tracks": "io.track_reading",
    "run_batch": "session.batch",
    "run_to_file": "session.job",
    "sample": "io.samples",
    "segment_images": "infer.propagate",
    "stack_from_array": "io.stacks",
    "track": "infer.track",
    "track_labels": "infer.track",
    "tune": "infer.tuning",
    "write_tracks": "io.tracks",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _version() -> str:
    """The installed version; the fallback when run from a source tree that was never installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("napari-incontext-seg")
    except PackageNotFoundError:
        return "0.1.0.dev0"
