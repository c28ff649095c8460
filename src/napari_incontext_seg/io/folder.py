"""Files of equal size as one stack, opened one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.stack import Stack
from ..errors import FileError, InputError


class FileSeries:
    """Files of one shape and type, stacked along a new first axis; a file is open only while it is read."""

    def __init__(self, files: Sequence[Path], open_file: Callable[[Path], Stack]) -> None:
        self._files = tuple(files)
        self._open = open_file
        first, *others = (open_file(f).data for f in self._files)
        self.shape = (len(self._files), *first.shape)
        self.dtype = np.dtype(first.dtype)
        for file, other in zip(self._files[1:], others, strict=True):
            if other.shape != first.shape or other.dtype != first.dtype:
                raise InputError(
                    f"{self._files[0].name} is {first.shape} {first.dtype}, but {file.name} is {other.shape} "
                    f"{other.dtype}: files of a stack must be alike. Open images of different sizes with open_images."
                )

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Index with a tuple of integers and slices, at most one an axis."""
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, slice):
            return np.stack([self[(i, *rest)] for i in range(self.shape[0])[first]])
        data = self._open(self._files[first]).data
        if data.shape != self.shape[1:]:
            raise FileError(f"{self._files[first]} changed while in use: it was {self.shape[1:]}, now {data.shape}.")
        return np.asarray(data[tuple(rest)])


def stack_files(files: Sequence[Path], open_file: Callable[[Path], Stack], name: str) -> Stack:
    """Join files as a stack: images along ``i``, or volumes along ``t``; see `stacks.open_stack`."""
    data = FileSeries(files, open_file)
    one = open_file(files[0])
    inner = one.axes.replace("i", "z") if "z" not in one.axes else one.axes
    letter = next((a for a in ("t" if one.plane_axes else "i", "i", "t") if a not in inner), None)
    if letter is None:
        raise InputError(f"{files[0].name} has the axes {one.axes!r} already: files with these cannot be stacked.")
    return Stack(data, letter + inner, (1.0, *one.scale), ("", *one.units), (0.0, *one.translate), name=name)
