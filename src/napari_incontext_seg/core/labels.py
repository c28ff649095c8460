"""Label planes: the one place that checks ids, and that turns an ignore label into a mask."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

LABEL_DTYPE = np.uint32
MAX_LABEL = np.iinfo(np.uint32).max


class LabelPlanes(Protocol):
    """The labels of every slice of a stack: a napari layer, an array, a Zarr."""

    def __len__(self) -> int: ...
    def read(self, position: int, /) -> NDArray[Any]: ...
    def write(self, position: int, plane: NDArray[Any], /) -> None: ...


def as_labels(labels: Any, shape: tuple[int, int] | None = None) -> NDArray[np.uint32]:
    """Return ``labels`` as a uint32 plane, its ids unchanged.

    Parameters
    ----------
    labels
        (Y, X) of bool, any integer, or floats that are whole numbers; ids 0..4294967295.
    shape
        (Y, X) that the labels must have, when given.

    Raises
    ------
    InputError
        Not 2-D, another shape, negative, fractional, not finite, or beyond uint32.
    """
    array = np.asarray(labels)
    if array.ndim != 2:
        raise InputError(f"labels must be one plane (Y, X); got shape {array.shape}.")
    if shape is not None and array.shape != tuple(shape):
        turned = array.shape == tuple(shape)[::-1]
        advice = "They seem to be transposed: swap their rows and columns." if turned else "Resample them with order 0."
        raise InputError(f"labels must match the image {tuple(shape)}; got {array.shape}. {advice}")
    if array.dtype.kind not in "buif":
        raise InputError(f"labels must be whole numbers; got dtype {array.dtype}.")
    if array.size == 0:
        return array.astype(LABEL_DTYPE)
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
        raise InputError("labels must be whole numbers; got fractions or NaN. Was this a probability map or an image?")
    if array.dtype.kind in "if" and array.min() < 0:
        raise InputError(f"labels must not be negative; got {array.min()}. Use the ignore label for unknown pixels.")
    if array.max() > MAX_LABEL:
        raise InputError(f"label ids must be at most {MAX_LABEL} (uint32); got {array.max()}.")
    return array.astype(LABEL_DTYPE)


def split_ignored(labels: Any, ignore_label: int | None) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return the labels with ignored pixels set to 0, and the mask of valid (annotated) pixels, both (Y, X).

    The ignore label may be any number, also one that no id can have (-1). Raises as `as_labels` does.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "buif":
        raise InputError(f"labels must be whole numbers; got dtype {array.dtype}.")
    valid = np.ones(array.shape, bool) if ignore_label is None else array != ignore_label
    return as_labels(np.where(valid, array, array.dtype.type(0))), valid


def unused_ids(taken: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Ids for ``count`` new objects: above those that are ``taken`` (sorted), between them where there is no room."""
    above = int(taken[-1]) + 1 if len(taken) else 1
    if above + count - 1 <= MAX_LABEL:
        return np.arange(above, above + count, dtype=np.int64)
    return np.setdiff1d(np.arange(1, len(taken) + count + 1), taken)[:count]
