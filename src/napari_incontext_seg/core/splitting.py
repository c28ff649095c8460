"""Objects that touch come apart: what was painted is cut at its waists, as deep as the example's objects allow.

Where the example's objects share much of their outlines, as the cells of a tissue do, there is no background between
them to see. Then the borders between them are painted as a class of their own, what remains of the objects is cut at
its waists, and the parts grow back over the borders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from ..errors import InputError
from .instances import connected_regions
from .metrics import object_overlaps, precision_of_overlaps
from .types import Context, Example, Labels

NECKS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)  # 0: nothing is cut
USUAL_NECK = 0.75  # where the example does not tell
SMOOTHING = 0.15  # of an object's radius: how much the depth is smoothed, so that rough rims make no waists
THRESHOLDS = (0.5, 0.75)  # IoU at which the example's objects must be found again
FEW = 5  # objects; fewer do not tell how small an object may be
TOUCHING = 0.25  # of all outlines: from here on borders are painted
BORDER = 0.15  # of an object's radius: how far a border reaches into it
SMALL = 5  # percentile of the areas of whole objects that counts as the smallest one


@dataclass(frozen=True)
class Splitting:
    """How a mask becomes objects.

    Parameters
    ----------
    neck
        Two parts are cut apart where the passage between them is narrower than this share of the narrower one; 0:
        never, so that objects are connected pieces.
    radius
        Of a usual object, in pixels.
    least
        Pixels of the smallest object, without its borders; what is smaller is no object.
    border
        How far a border between two objects reaches into either, in pixels; 0: borders are not painted.
    """

    neck: float = USUAL_NECK
    radius: float = 5.0
    least: int = 1
    border: int = 0

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Splitting:
        """Estimate it: the example's objects, as one mask, must come apart into themselves again."""
        planes = [e.labels for e in examples]
        areas = np.concatenate([_areas(labels) for labels in planes])
        radius = float(np.sqrt(np.median(areas) / np.pi)) if len(areas) else cls.radius
        border = max(1, round(BORDER * radius)) if _touching(planes) >= TOUCHING else 0
        if border:
            planes = [np.where(_borders(labels, border), np.uint32(0), labels) for labels in planes]
            areas = np.concatenate([_areas(labels) for labels in planes])
        if not len(areas):
            return cls(radius=radius, border=border)
        whole = np.concatenate([_areas(_without_rim(labels)) for labels in planes])
        smallest = np.percentile(whole if len(whole) else areas, SMALL)
        least = max(1, int(min(smallest / 2, np.median(areas) / 10))) if len(areas) >= FEW else 1
        scores = np.zeros(len(NECKS))
        for labels in planes:
            pieces = _Pieces.of(labels > 0, SMOOTHING * radius)
            shared = object_overlaps(pieces.labels, labels)
            for k, neck in enumerate(NECKS):
                joined = np.zeros_like(shared)
                np.add.at(joined, pieces.roots(neck), shared)
                scores[k] += sum(precision_of_overlaps(joined, threshold) for threshold in THRESHOLDS)
        best = [neck for neck, score in zip(NECKS, scores, strict=True) if score >= scores.max() - 1e-9]
        return cls(min(best, key=lambda neck: abs(neck - USUAL_NECK)), radius, least, border)

    def classes(self, labels: Labels) -> Labels:
        """What is painted of objects (Y, X): uint32 classes, 1 is object and 2, if borders are painted, border."""
        mask = (labels > 0).astype(np.uint32)
        return mask + _borders(labels, self.border) if self.border else mask

    def __call__(self, painted: Labels) -> Labels:
        """Part painted `classes` (Y, X) into objects: uint32 ids 1..n; what is too small becomes background."""
        objects = self._cut(painted == 1)
        if not self.border:
            return objects
        distance = ndimage.distance_transform_edt(objects == 0)
        grown: Labels = watershed(distance, objects.astype(np.int32), mask=painted > 0).astype(np.uint32)
        return grown

    def _cut(self, mask: NDArray[np.bool_]) -> Labels:
        if not mask.any():
            return np.zeros(mask.shape, np.uint32)
        objects = cut_at_waists(mask, self.radius, self.neck)
        kept = np.bincount(objects.ravel()) >= self.least
        kept[0] = False
        renumbered: Labels = np.where(kept, kept.cumsum(), 0).astype(np.uint32)[objects]
        return renumbered


def check_ground(context: Context) -> None:
    """Raise InputError if objects are shown without anything that they could be told from."""
    if context.kind != "instance" or 0 in context.ids or Splitting.of(context.examples).border:
        return
    raise InputError(
        "no background is annotated, so objects cannot be told from it. Background is label 0; in scribbles leave what "
        "is not annotated as another id, such as 255, and name it (--ignore-label 255)."
    )


def cut_at_waists(mask: NDArray[np.bool_], radius: float, neck: float) -> NDArray[np.intp]:
    """Number the parts of a mask (Y, X), cut as `Splitting` says; 0 is background, and numbers have gaps."""
    pieces = _Pieces.of(mask, SMOOTHING * radius)
    return pieces.roots(neck)[pieces.labels]


@dataclass(frozen=True, eq=False)
class _Pieces:
    """A mask cut at every waist, and what is needed to join pieces again.

    ``labels`` (Y, X) from 1; ``peaks`` (n + 1,) greatest depth of each; ``borders`` (m, 2) of neighbours, the widest
    passage first, and how wide each is.
    """

    labels: NDArray[np.intp]
    peaks: NDArray[np.float64]
    borders: NDArray[np.intp]
    widths: NDArray[np.float64]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], smoothing: float) -> _Pieces:
        depth = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
        depth = np.where(mask, ndimage.gaussian_filter(depth, smoothing), 0)
        summits = mask & (depth == ndimage.maximum_filter(depth, size=3))
        # every connected piece has a summit, however small
        labels = watershed(
            -depth, connected_regions(summits.astype(np.uint32), corners=True), mask=mask, connectivity=1
        )
        labels = np.where(
            mask & (labels == 0), labels.max() + connected_regions(mask & (labels == 0), corners=False), labels
        )
        peaks = np.zeros(labels.max() + 1)
        np.maximum.at(peaks, labels.ravel(), depth.ravel())
        pairs, widths = [], []
        for one, other, a, b in (
            (labels[1:], labels[:-1], depth[1:], depth[:-1]),
            (labels[:, 1:], labels[:, :-1], depth[:, 1:], depth[:, :-1]),
        ):
            meet = (one != other) & (one > 0) & (other > 0)
            pairs.append(np.sort(np.stack([one[meet], other[meet]], axis=1), axis=1))
            widths.append(np.minimum(a, b)[meet])
        borders, which = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
        widest = np.zeros(len(borders))
        np.maximum.at(widest, which.ravel(), np.concatenate(widths))
        order = np.argsort(-widest, kind="stable")
        return cls(labels, peaks, borders[order], widest[order])

    def roots(self, neck: float) -> NDArray[np.intp]:
        """The piece that each (n + 1,) is joined to, where the passage is at least ``neck`` of the shallower's depth.

        The widest passages are opened first, and what was joined counts as one piece from then on.
        """
        home, peaks = list(range(len(self.peaks))), self.peaks.tolist()

        def root(piece: int) -> int:
            while home[piece] != piece:
                home[piece] = home[home[piece]]
                piece = home[piece]
            return piece

        for (a, b), width in zip(self.borders.tolist(), self.widths.tolist(), strict=True):
            a, b = root(a), root(b)
            if a != b and width >= neck * min(peaks[a], peaks[b]):
                home[b] = a
                peaks[a] = max(peaks[a], peaks[b])
        return np.array([root(piece) for piece in range(len(home))])


def _borders(labels: Labels, width: int) -> NDArray[np.bool_]:
    """Pixels of objects (Y, X) that are within ``width`` pixels of another object."""
    y, x = np.mgrid[-width : width + 1, -width : width + 1]
    near = np.hypot(y, x) <= width + 0.5
    _, compact = np.unique(labels, return_inverse=True)
    objects = compact.reshape(labels.shape) + (0 if (labels == 0).any() else 1)
    highest = ndimage.maximum_filter(objects, footprint=near)
    lowest = ndimage.minimum_filter(np.where(objects > 0, objects, objects.max() + 1), footprint=near)
    borders: NDArray[np.bool_] = (objects > 0) & ((highest != objects) | (lowest != objects))
    return borders


def _touching(planes: Iterable[Labels]) -> float:
    """Share of the outlines of objects (Y, X), without the plane's rim, at which they touch other objects."""
    shared = outlines = 0
    for labels in planes:
        for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
            edge = one != other
            outlines += int(edge.sum())
            shared += int((edge & (one > 0) & (other > 0)).sum())
    return shared / outlines if outlines else 0.0


def _areas(labels: Labels) -> NDArray[np.intp]:
    """Pixels of each object (Y, X)."""
    return np.unique(labels[labels > 0], return_counts=True)[1]


def _without_rim(labels: Labels) -> Labels:
    """The labels without objects that the plane's rim cuts."""
    cut = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.where(np.isin(labels, cut), np.uint32(0), labels)
