"""Matching physical pixel sizes: an example from another image is resampled to the pixels of the image at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .types import Context, Example, Spacing

TOLERANCE = 0.02  # relative; below it pixels count as equal


def match_spacing(example: Example, spacing: Spacing | None) -> Example:
    """Return ``example`` with pixels of size ``spacing`` (y, x); as it is when either size is unknown or both agree.

    Labels are those of the nearest pixels; but where only a part is annotated and pixels become larger, each takes the
    most frequent annotated label that it covers, so that thin strokes stay.
    """
    if spacing is None or example.spacing is None:
        return example
    zoom = [own / other for own, other in zip(example.spacing, spacing, strict=True)]
    if all(abs(z - 1) <= TOLERANCE for z in zoom):
        return example
    shape = tuple(max(1, round(n * z)) for n, z in zip(example.labels.shape, zoom, strict=True))
    from skimage.transform import resize  # takes half a second to import, and most images need none

    image = resize(example.image, shape, order=1, anti_aliasing=min(zoom) < 1)
    labels, valid = example.labels, example.valid
    if not valid.all():  # a stroke may be thinner than the larger pixels
        labels, valid = _covered(labels, valid, shape)
    labels, valid = (
        resize(a, shape, order=0, preserve_range=True, anti_aliasing=False).astype(a.dtype)
        for a in (labels.astype(np.float64), valid)
    )
    return Example(np.clip(image, 0, 1), labels, valid, spacing)


def _covered(
    labels: NDArray[np.uint32], valid: NDArray[np.bool_], shape: tuple[int, ...]
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Shrink labels and valid along the axes in which ``shape`` is smaller.

    Each larger pixel takes the most frequent annotated label of those that it covers; of several that are as frequent
    the highest, so that background does not win.
    """
    smaller = tuple(min(n, m) for n, m in zip(labels.shape, shape, strict=True))
    at = np.nonzero(valid)
    y, x = ((2 * k + 1) * m // (2 * n) for k, m, n in zip(at, smaller, labels.shape, strict=True))
    ids, number = np.unique(labels[at], return_inverse=True)
    pairs, counts = np.unique((y * smaller[1] + x) * len(ids) + number, return_counts=True)
    cell, number = np.divmod(pairs[np.lexsort((pairs, counts))], len(ids))  # of several in a cell the last one stays
    covered, known = np.zeros(smaller, labels.dtype), np.zeros(smaller, bool)
    covered.flat[cell], known.flat[cell] = ids[number], True
    return covered, known


def match_context(context: Context, spacing: Spacing | None) -> Context:
    """Return ``context`` with every example at pixels of size ``spacing`` (y, x): see `match_spacing`."""
    examples = tuple(match_spacing(example, spacing) for example in context.examples)
    return context if examples == context.examples else replace(context, examples=examples)
