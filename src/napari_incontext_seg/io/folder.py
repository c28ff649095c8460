"""Files of equal size as one stack, opened one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.stack import Stack
from ..errors import FileError, InputError


class ReopenedFile:
    """The array of a file that is open only while it is read, so that thousands can be held at once."""

    def __init__(self, path: Path, open_file: Callable[[Path], Stack]) -> None:
        self.path = path
        self._open = open_file
        data = open_file(path).data
        self.shape, self.dtype = tuple(data.shape), np.dtype(data.dtype)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Index with a tuple of integers and slices, at most one an axis."""
        data = self._open(self.path).data
        if tuple(data.shape) != self.shape:
            raise FileError(f"{self.path} changed while in use: it was {self.shape}, now {data.shape}.")
        return np.asarray(data[index])


class FileSeries:
    """Files of one shape and type, stacked along a new first axis; a file is open only while it is read."""

    def __init__(self, files: Sequence[Path], open_file: Callable[[Path], Stack]) -> None:
        self._files = [ReopenedFile(file, open_file) for file in files]
        first = self._files[0]
        self.shape, self.dtype = (len(files), *first.shape), first.dtype
        for other in self._files[1:]:
            if other.shape != first.shape or other.dtype != first.dtype:
                raise InputError(
                    f"{first.path.name} is {first.shape} {first.dtype}, but {other.path.name} is {other.shape} "
                    f"{other.dtype}: files of a stack must be alike. Images of different sizes go one by one: for "
                    "`propagate` and `clean` name a folder as the output, for `tune` add --one-by-one, for an example "
                    "set give a single image (open_images in Python)."
                )

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [file.path for file in self._files]

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Index with a tuple of integers and slices, at most one an axis."""
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, slice):
            return np.stack([self[(i, *rest)] for i in range(self.shape[0])[first]])
        return self._files[first][tuple(rest)]


def stack_files(files: Sequence[Path], open_file: Callable[[Path], Stack], name: str) -> Stack:
    """Join files as a stack: images along ``i``, or volumes along ``t``; see `stacks.open_stack`."""
    data = FileSeries(files, open_file)
    one = open_file(files[0])
    inner = one.axes.replace("i", "z") if "z" not in one.axes else one.axes
    letter = next((a for a in ("t" if one.plane_axes else "i", "i", "t") if a not in inner), None)
    if letter is None:
        raise InputError(f"{files[0].name} has the axes {one.axes!r} already: files with these cannot be stacked.")
    return Stack(data, letter + inner, (1.0, *one.scale), ("", *one.units), (0.0, *one.translate), name=name)
