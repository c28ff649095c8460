"""PNG, JPEG and BMP: one image a file, decoded when read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.stack import Stack
from ..errors import FileError, InputError
from .lazy import PagedArray
from .paths import stem

# What Pillow calls the pixels -> (mode to convert to, numpy dtype, samples); everything else becomes RGB.
_IMAGE_MODES = {
    "1": ("1", "bool", 1),
    "L": ("L", "uint8", 1),
    "LA": ("L", "uint8", 1),
    "I;16": ("I;16", "uint16", 1),
    "I;16B": ("I;16", "uint16", 1),
    "I": ("I", "int32", 1),
    "F": ("F", "float32", 1),
    "RGBA": ("RGBA", "uint8", 4),
}
_LABEL_MODES = {**{m: v for m, v in _IMAGE_MODES.items() if v[2] == 1}, "P": ("P", "uint8", 1)}


class RasterFile(PagedArray):
    """The pixels (Y, X) or (Y, X, samples) of one file; only its header is read at first.

    Palette images become RGB, or, as ``labels``, their indices.
    """

    def __init__(self, path: Path, *, labels: bool = False) -> None:
        with _opened(path) as image:
            if labels and (image.mode not in _LABEL_MODES or image.format == "JPEG"):
                raise InputError(_not_labels(path, image.format == "JPEG"))
            modes = _LABEL_MODES if labels else _IMAGE_MODES
            self._mode, dtype, samples = modes.get(image.mode, ("RGB", "uint8", 3))
            shape = (image.height, image.width) if samples == 1 else (image.height, image.width, samples)
        super().__init__(shape, dtype, len(shape), path)

    def read_page(self, number: int) -> NDArray[Any]:
        """Decode the file."""
        with _opened(self.path) as image:
            try:
                pixels = np.asarray(image if image.mode == self._mode else image.convert(self._mode))
            except Exception as error:  # what a damaged file makes a decoder raise is not known beforehand
                raise FileError(f"{self.path} cannot be read: {error}. It may be truncated or damaged.") from error
        if pixels.shape != self.shape:
            raise FileError(f"{self.path} changed while in use: it was {self.shape}, now it is {pixels.shape}.")
        return pixels.astype(self.dtype, copy=False)


def read_raster(path: Path, *, labels: bool = False) -> Stack:
    """Open one PNG, JPEG or BMP: see `stacks.open_stack`."""
    data = RasterFile(path, labels=labels)
    return Stack(data, "yxs" if len(data.shape) == 3 else "yx", name=stem(path))


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except Exception as error:  # what a damaged file makes a decoder raise is not known beforehand
        raise FileError(f"{path} cannot be read as an image: {error}.") from error


def _not_labels(path: Path, jpeg: bool) -> str:
    if jpeg:
        return f"{path.name} is a JPEG, which changes label numbers; save labels as PNG or TIFF."
    return (
        f"{path.name} is a colour image; labels need one whole number a pixel. Save it as an indexed or greyscale PNG "
        "(image.quantize() in Pillow, Image > Type > 8-bit in ImageJ), or as a TIFF of integers."
    )
