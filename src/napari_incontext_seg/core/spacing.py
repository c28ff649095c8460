"""Matching physical pixel sizes: an example from another image is resampled to the pixels of the image at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .types import Context, Example, Spacing

TOLERANCE = 0.02  # relative; below it pixels count as equal


def match_spacing(example: Example, spacing: Spacing | None) -> Example:
    """Return ``example`` with pixels of size ``spacing`` (y, x); as it is when either size is unknown or both agree."""
    if spacing is None or example.spacing is None:
        return example
    zoom = [own / other for own, other in zip(example.spacing, spacing, strict=True)]
    if all(abs(z - 1) <= TOLERANCE for z in zoom):
        return example
    shape = tuple(max(1, round(n * z)) for n, z in zip(example.labels.shape, zoom, strict=True))
    from skimage.transform import resize  # takes half a second to import, and most images need none

    image = resize(example.image, shape, order=1, anti_aliasing=min(zoom) < 1)
    labels, valid = (
        resize(a, shape, order=0, preserve_range=True, anti_aliasing=False).astype(a.dtype)
        for a in (example.labels.astype(np.float64), example.valid)
    )
    return Example(np.clip(image, 0, 1), labels, valid, spacing)


def match_context(context: Context, spacing: Spacing | None) -> Context:
    """Return ``context`` with every example at pixels of size ``spacing`` (y, x): see `match_spacing`."""
    examples = tuple(match_spacing(example, spacing) for example in context.examples)
    return context if examples == context.examples else replace(context, examples=examples)
