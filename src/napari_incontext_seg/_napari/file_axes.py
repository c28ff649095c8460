"""What the file of a layer says its axes are: napari does not keep it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ..errors import DegradedDataWarning, InContextError
from ..io.ome_zarr import is_zarr
from ..io.paths import TIFF_SUFFIXES
from ..io.stacks import open_stack


def letters_of_file(file: str | None, shape: Sequence[int], ndim: int) -> str | None:
    """A letter for each axis but colours; None where a file does not say, or its image is not the layer's.

    Parameters
    ----------
    file
        Where the layer came from, if from a file.
    shape
        Of the layer's data, colours included.
    ndim
        Of the layer, without colours.
    """
    path = Path(file or "")
    if ndim < 3 or not path.exists() or not (path.suffix.lower() in TIFF_SUFFIXES or is_zarr(path)):
        return None
    axes = _axes_in(path, tuple(int(n) for n in shape), path.stat().st_mtime) or ""
    letters = axes.removesuffix("s")
    said = not {"s", "i"} & set(letters)  # colours, or pages of which the file says nothing
    return letters if len(letters) == ndim and letters.endswith("yx") and said else None


@lru_cache(maxsize=64)
def _axes_in(path: Path, shape: tuple[int, ...], _written: float) -> str | None:
    """The axes of the image in a file; None if it cannot be read, or has another shape."""
    with suppress(InContextError), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegradedDataWarning)  # whoever opens the file is told
        stack = open_stack(path)
        return stack.axes if tuple(stack.data.shape) == shape else None
    return None
