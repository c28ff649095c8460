"""`Canvas`: a plane resized and padded into a network's window, and what was painted there brought back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ..errors import InputError
from .instances import connected_regions

MIN_OBJECT = 8.0  # px; smaller objects than this are lost in a window of 16 px patches
SPECKS = 0.1  # share of an id's pixels that is taken for specks
THIN = 3.0  # times as far across as the largest disk inside: such objects are measured by their thickness
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Canvas:
    """Where a plane lies in a window: resized to ``size``, at the top left.

    Parameters
    ----------
    shape
        (Y, X) of the plane.
    size
        (height, width) it is resized to.
    window
        (height, width) of the network's input.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    window: tuple[int, int]

    def __post_init__(self) -> None:
        fits = all(1 <= s <= w for s, w in zip(self.size, self.window, strict=True))
        if min(self.shape) < 1 or not fits:
            raise InputError(f"a plane {self.shape} cannot be placed as {self.size} in a window {self.window}.")

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """(height, width) of the window, True where it shows the plane and not padding."""
        valid = np.zeros(self.window, bool)
        valid[: self.size[0], : self.size[1]] = True
        return valid

    def place_image(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resize a plane (Y, X, C) as PIL's bicubic does and pad it by reflection: (height, width, C) in [0, 1]."""
        self._check(plane, self.shape)
        placed = np.clip(_resample(plane, self.size, Image.Resampling.BICUBIC), 0, 1)
        return np.pad(placed, [*self._padding, (0, 0)], mode="reflect")

    def place_labels(self, labels: NDArray[T]) -> NDArray[T]:
        """Resize labels or a mask (Y, X) to the nearest pixel and pad with 0: (height, width), same dtype."""
        self._check(labels, self.shape)
        return np.pad(_nearest(labels, self.size), self._padding)

    def recover(self, painted: NDArray[np.float32], order: str = "bilinear") -> NDArray[np.float32]:
        """Bring (height, width, D) of the window back to the plane's (Y, X, D), "bilinear" or "nearest"."""
        self._check(painted, self.window)
        inner = painted[: self.size[0], : self.size[1]]
        if order == "nearest":
            return _nearest(inner, self.shape)
        return _resample(inner, self.shape, Image.Resampling.BILINEAR)

    @property
    def _padding(self) -> list[tuple[int, int]]:
        return [(0, w - s) for s, w in zip(self.size, self.window, strict=True)]

    @staticmethod
    def _check(array: NDArray[np.generic], shape: tuple[int, int]) -> None:
        if array.shape[:2] != shape:
            raise InputError(f"this canvas is for arrays {shape}; got {array.shape}.")


def fit_canvas(
    shape: tuple[int, int], window: tuple[int, int], *, keep_aspect: bool = True, max_scale: float | None = None
) -> Canvas:
    """Return the canvas that shows a plane as large as fits.

    Parameters
    ----------
    shape
        (Y, X) of the plane.
    window
        (height, width) of the network's input.
    keep_aspect
        Scale both axes alike, and pad; otherwise fill the window.
    max_scale
        Magnify no more than this (1: never); None: as much as fits.
    """
    scales = [w / n for n, w in zip(shape, window, strict=True)]
    if keep_aspect:
        scales = [min(scales)] * 2
    if max_scale is not None:
        scales = [min(s, max_scale) for s in scales]
    height, width = (min(w, max(1, round(n * s))) for n, s, w in zip(shape, scales, window, strict=True))
    return Canvas((shape[0], shape[1]), (height, width), (window[0], window[1]))


def object_size(labels: NDArray[np.uint32]) -> float:
    """Return how large the median object of a label plane is.

    An object is a connected component of one id. Its size is its equivalent diameter, or, where it is thin
    (membranes, vessels), the median thickness along its ridge. Of each id the smallest components, up to a tenth of
    its pixels together, are specks and not counted.

    Parameters
    ----------
    labels
        (Y, X), 0 is background.

    Returns
    -------
    Size in pixels; infinite where there is no object.
    """
    regions = connected_regions(labels, corners=True)
    boxes = ndimage.find_objects(regions)
    areas = np.bincount(regions.ravel())
    ids = np.zeros(areas.shape, np.uint32)
    ids[regions] = labels
    sizes = []
    for i in np.unique(ids[1:]):
        own = np.flatnonzero(ids == i)
        own = own[np.argsort(areas[own])]
        counted = own[areas[own].cumsum() > SPECKS * areas[own].sum()]
        sizes += [_size(regions[boxes[k - 1]] == k) for k in counted]
    return float(np.median(sizes)) if sizes else float("inf")


def choose_tile(shape: tuple[int, int], window: tuple[int, int], size: float) -> tuple[int, int]:
    """Return how much of a plane one window shows: all of it, or less where objects would become too small.

    Parameters
    ----------
    shape
        (Y, X) of the plane.
    window
        (height, width) of the network's input.
    size
        Of an object in the plane, pixels (`object_size`).

    Returns
    -------
    (height, width) in the plane: ``shape`` if objects keep `MIN_OBJECT` pixels in the window (or as many as they
    have), else the largest part in which they do.
    """
    scale = min(1.0, MIN_OBJECT / size)
    if all(n * scale <= w for n, w in zip(shape, window, strict=True)):
        return shape
    height, width = (min(n, max(1, int(w / scale))) for n, w in zip(shape, window, strict=True))
    return height, width


def _size(mask: NDArray[np.bool_]) -> float:
    diameter = 2 * float(np.sqrt(mask.sum() / np.pi))
    if diameter < MIN_OBJECT:  # small whatever its form
        return diameter
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))
    if diameter < THIN * 2 * depth.max():
        return diameter
    ridge = (depth > 0) & (depth == ndimage.maximum_filter(depth, size=3))
    return float(np.median(2 * depth[ridge]))


def _resample(plane: NDArray[np.float32], shape: tuple[int, int], method: Image.Resampling) -> NDArray[np.float32]:
    """Resize (Y, X, C) to ``shape``, each channel as a float image of PIL's; a copy where the shape is the same."""
    if plane.shape[:2] == shape:
        return np.array(plane, np.float32)
    bands = (Image.fromarray(np.ascontiguousarray(band, np.float32)) for band in np.moveaxis(plane, 2, 0))
    return np.stack([np.asarray(band.resize((shape[1], shape[0]), method)) for band in bands], axis=2)


def _nearest(array: NDArray[T], shape: tuple[int, int]) -> NDArray[T]:
    """Resize (Y, X, ...) to ``shape`` by taking the pixel under each centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for old, new in zip(array.shape, shape, strict=False)
    )
    resized: NDArray[T] = array[rows[:, None], columns]
    return resized
