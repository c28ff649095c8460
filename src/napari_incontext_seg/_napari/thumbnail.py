"""Small pictures of examples: the plane with its labels painted over it."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap

from ..core.types import Example

LARGEST = 512  # pixels a side that are looked at: a thumbnail of a large plane costs no more
OPACITY = 0.6
Color = Callable[[int], tuple[float, float, float]]


def thumbnail(example: Example, color: Color, size: int) -> QPixmap:
    """Paint a square picture of an example.

    Parameters
    ----------
    example
        Image plane and labels.
    color
        Label -> red, green, blue in [0, 1].
    size
        Pixels a side of the picture; the plane fills it, cut where it is longer.
    """
    height, width = example.labels.shape
    side = min(height, width)
    top, left, step = (height - side) // 2, (width - side) // 2, max(1, ceil(side / LARGEST))
    cut = np.s_[top : top + side : step, left : left + side : step]
    labels, image = example.labels[cut], example.image[cut]
    ids, inverse = np.unique(labels, return_inverse=True)
    colors = np.array([(0.0, 0.0, 0.0) if i == 0 else color(int(i)) for i in ids], np.float32)
    opacity = OPACITY * (labels > 0)[..., None].astype(np.float32)
    blended = image * (1 - opacity) + colors[inverse.reshape(labels.shape)] * opacity
    pixels = np.ascontiguousarray(np.rint(np.broadcast_to(blended, (*labels.shape, 3)) * 255).astype(np.uint8))
    picture = QImage(pixels.data, pixels.shape[1], pixels.shape[0], pixels.strides[0], QImage.Format.Format_RGB888)
    return QPixmap.fromImage(picture.copy()).scaled(  # the copy owns its pixels
        size, size, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
    )
