"""Where the pixels of a stack are, in plain values, so that another process reads them from there too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from ..core.stack import PLANE_LETTERS, ArrayLike, Stack
from ..errors import FileError, InContextError
from .folder import FileSeries
from .lazy import PagedArray
from .ome_zarr import ZarrArray
from .stacks import open_stack
from .storing import storing


def address(stack: Stack, spare: Path) -> dict[str, Any]:
    """Tell where the pixels of a stack are.

    Parameters
    ----------
    stack
        From a file, or of an array in memory.
    spare
        A file (``.npy``) to which the pixels are written if they are in no file that `reopen` could read.

    Returns
    -------
    dict
        For `reopen`: paths, shape and type; JSON can hold it.
    """
    files = _files(stack.data)
    if not files or not _same_pixels(stack, files):
        _write(stack, spare)
        files = [spare]
    many = isinstance(stack.data, FileSeries)
    return {
        "files": [str(file.absolute()) for file in files],
        "many": many and files != [spare],
        "shape": list(stack.data.shape),
        "dtype": np.dtype(stack.data.dtype).str,
    }


def reopen(where: Mapping[str, Any]) -> ArrayLike:
    """Open the pixels that `address` told of.

    Raises
    ------
    FileError
        They are not there, or not the same.
    """
    files = [Path(file) for file in where["files"]]
    try:
        data = _opened(files, where["many"])
    except InContextError as error:
        raise FileError(f"{error} Is it on a disk that all machines see, under the same path?") from error
    if list(data.shape) != list(where["shape"]) or np.dtype(data.dtype).str != where["dtype"]:
        raise FileError(
            f"{files[0]} holds {tuple(data.shape)} {data.dtype} here, and {tuple(where['shape'])} {where['dtype']} "
            "where the run was started: it is another file, or has changed."
        )
    return data


def _files(data: Any) -> list[Path]:
    """The files that hold the pixels; none if they are in memory, or a file holds more than them."""
    if isinstance(data, FileSeries):
        return data.paths
    if isinstance(data, (PagedArray, ZarrArray)):
        return [data.path]
    if isinstance(data, zarr.Array) and isinstance(data.store, LocalStore):
        return [Path(data.store.root) / data.path]
    if isinstance(data, np.memmap) and data.filename is not None and not isinstance(data.base, np.ndarray):
        return [Path(str(data.filename))]
    return []


def _opened(files: list[Path], many: bool) -> ArrayLike:
    return FileSeries(files, open_stack) if many else open_stack(files[0]).data


def _same_pixels(stack: Stack, files: list[Path]) -> bool:
    """Whether the files, opened by their names alone, give these pixels: looked at in the first and last plane."""
    many = isinstance(stack.data, FileSeries)
    try:
        data = _opened(files[:1] if many else files, many)
        if tuple(data.shape[many:]) != tuple(stack.data.shape[many:]) or data.dtype != stack.data.dtype:
            return False
        ends = [_index(stack, p) for p in ((0,) if many else (0, len(stack) - 1))]
        return all(np.array_equal(data[at], stack.data[at], equal_nan=True) for at in ends)
    except InContextError:
        return False


def _write(stack: Stack, file: Path) -> None:
    """Write the pixels, plane by plane."""
    with storing(file):
        array = np.lib.format.open_memmap(file, "w+", np.dtype(stack.data.dtype), tuple(stack.data.shape))
        for position in range(len(stack)):
            at = _index(stack, position)
            array[at] = np.asarray(stack.data[at])
        array.flush()


def _index(stack: Stack, position: int) -> tuple[Any, ...]:
    at = iter(stack.unravel(position))
    return tuple(slice(None) if a in PLANE_LETTERS else next(at) for a in stack.axes)
