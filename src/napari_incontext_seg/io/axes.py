"""What the axes of an array are when nobody says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError

_BY_NDIM = {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx"}


def guess_axes(shape: Sequence[int], dtype: Any) -> str:
    """Name the axes of an array: ``yx``, ``zyx``, ``tzyx`` or ``tczyx`` by their number.

    A last axis of 3 or 4 in an array of uint8 holds colours: ``yxs``, ``zyxs``, ``tzyxs``.

    Raises
    ------
    InputError
        Fewer than two or more than five axes.
    """
    colours = len(shape) >= 3 and shape[-1] in (3, 4) and np.dtype(dtype) == np.uint8
    axes = _BY_NDIM.get(len(shape) - colours)
    if axes is None:
        raise InputError(f"an image has two to five axes; got shape {tuple(shape)}. Name them, such as axes='tzyx'.")
    return axes + "s" * colours
