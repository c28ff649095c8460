"""Open images and labels of any format as lazy stacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.stack import ArrayLike, Stack
from ..errors import FileError, InContextError, InputError
from .axes import guess_axes
from .folder import ReopenedFile, stack_files
from .ome_zarr import is_zarr, read_ome_zarr
from .paths import (
    RASTER_SUFFIXES,
    READABLE,
    TIFF_SUFFIXES,
    VIDEO_SUFFIXES,
    PathLike,
    check_exists,
    image_files,
    is_pattern,
    stem,
)
from .raster import read_raster
from .tiff import read_tiff, read_tiff_images
from .video import read_video

MOST_IMAGES = 100_000  # of a collection


def open_stack(path: PathLike, *, axes: str | None = None, channels: Sequence[int] | None = None) -> Stack:
    """Open an image of any number of axes; planes are read when they are asked for.

    Parameters
    ----------
    path
        TIFF (OME, ImageJ, plain), PNG, JPEG, BMP, ``.npy``, ``.npz`` (one array), OME-Zarr 0.4 or 0.5, a folder of
        images of equal size (in natural order, along axis ``i``), a pattern (``"images/*.png"``), or a video (MP4, AVI,
        ...; needs the extra ``video``).
    axes
        What the axes are, one letter each (``"zcyx"``), where the file does not say or errs.
    channels
        Channels to look at, up to three.

    Raises
    ------
    FileError
        Not there, unreadable, truncated, or of an unknown format.
    InputError
        The axes do not fit, or the images of a folder differ in size.
    """
    stack = _open(path, labels=False)
    if axes is not None:
        stack = _with_axes(stack, axes)
    return stack if channels is None else replace(stack, channels=tuple(channels))


def open_labels(path: PathLike) -> Stack:
    """Open labels: the formats of `open_stack`, ids as they are and never taken for colours (palettes: indices).

    Raises
    ------
    FileError
        As `open_stack`.
    InputError
        The file holds colours or channels instead of one whole number a pixel.
    """
    return _one_channel(_open(path, labels=True))


def open_images(path: PathLike) -> list[Stack]:
    """Open every image of a folder, pattern or multi-page file as a stack of one plane, with a name of its own.

    Raises
    ------
    FileError, InputError
        As `open_stack`; sizes may differ.
    """
    return _open_each(path, labels=False)


def open_label_images(path: PathLike) -> list[Stack]:
    """Open every label image of a folder, pattern or multi-page file: `open_images` for labels.

    Raises
    ------
    FileError, InputError
        As `open_labels`; sizes may differ.
    """
    return [_one_channel(stack) for stack in _open_each(path, labels=True)]


def stack_from_array(array: ArrayLike, axes: str | None = None) -> Stack:
    """Make a stack of an array (NumPy, Dask, Zarr, ...), which is not copied.

    Parameters
    ----------
    array
        Two to five axes.
    axes
        One letter an axis; default ``yx``, ``zyx``, ``tzyx``, ``tczyx``, with ``s`` (colours) for a last axis of 3 or 4
        in an array of uint8.

    Raises
    ------
    InputError
        The axes do not fit.
    """
    return Stack(array, axes or guess_axes(array.shape, array.dtype), named=axes is not None)


def _one_channel(stack: Stack) -> Stack:
    """The stack itself, if it can be labels."""
    if stack.num_channels > 1:
        raise InputError(
            f"{stack.name}: labels need one whole number a pixel; got {stack.num_channels} channels "
            f"(axes {stack.axes!r}, shape {tuple(stack.data.shape)}). Save the channel with the labels alone."
        )
    return stack


# -- dispatch ---------------------------------------------------------------------------------------------------------
def _open(path: PathLike, *, labels: bool) -> Stack:
    path = Path(path).expanduser()
    if is_pattern(path):
        return stack_files(image_files(path), partial(_open_file, labels=labels), path.parent.name)
    check_exists(path)
    if path.is_file():
        return _open_file(path, labels=labels)
    if is_zarr(path):
        return read_ome_zarr(path, labels=labels)
    files = image_files(path)
    return stack_files(files, partial(_open_file, labels=labels), path.name)


def _open_file(path: Path, *, labels: bool) -> Stack:
    suffix = path.suffix.lower()
    _check_not_empty(path)
    if suffix in TIFF_SUFFIXES:
        return read_tiff(path, labels=labels)
    if suffix in RASTER_SUFFIXES:
        return read_raster(path, labels=labels)
    if suffix in (".npy", ".npz"):
        return _read_numpy(path, labels)
    if suffix in VIDEO_SUFFIXES:
        return read_video(path, labels=labels)
    raise FileError(f"{path.name} is of an unknown format; can be read: {READABLE}.")


def _check_not_empty(path: Path) -> None:
    if not path.is_file():
        raise FileError(f"{path} is no longer there, or no file.")
    if path.stat().st_size == 0:
        raise FileError(f"{path} is empty (0 bytes).")


def _read_numpy(path: Path, labels: bool) -> Stack:
    try:
        if path.suffix.lower() == ".npy":
            _check_header(path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(array, np.lib.npyio.NpzFile):
            with array:
                if len(array.files) != 1:
                    raise InputError(f"{path.name} must hold one array; it has {len(array.files)}: {array.files}.")
                array = array[array.files[0]]
    except InContextError:
        raise
    except Exception as error:  # foreign bytes make NumPy's parsers raise anything
        raise FileError(f"{path} cannot be read: {error}. (Pickled objects are never loaded.)") from error
    # an array of labels is never one of colours: guessed as if of another type
    axes = guess_axes(array.shape, np.uint32 if labels else array.dtype)
    return Stack(array, axes, name=stem(path), named=False)


def _check_header(path: Path) -> None:
    """Raise FileError if an array holds no numbers: some of the others even crash NumPy where they are opened."""
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
        except ValueError:
            return  # another file with this name: np.load says which
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        dtype = read(file)[2]
    if dtype.kind not in "buif":
        raise FileError(f"{path.name} must hold numbers; got {dtype}. (Pickled objects are never loaded.)")


def _with_axes(stack: Stack, axes: str) -> Stack:
    """Rename axes; what the file says of an axis with another name is forgotten."""
    axes = axes.strip().lower()
    if len(axes) != len(stack.axes):
        raise InputError(
            f"axes must name the {len(stack.axes)} axes of {stack.name}, which has shape {tuple(stack.data.shape)} and "
            f"was taken for {stack.axes!r}; got {axes!r}."
        )
    kept = [new == old for new, old in zip(axes, stack.axes, strict=True)]
    return Stack(
        stack.data,
        axes,
        tuple(s if k else 1.0 for s, k in zip(stack.scale, kept, strict=True)),
        tuple(u if k else "" for u, k in zip(stack.units, kept, strict=True)),
        tuple(t if k else 0.0 for t, k in zip(stack.translate, kept, strict=True)),
        name=stack.name,
    )


# -- collections ------------------------------------------------------------------------------------------------------
class _Plane:
    """One plane of a stack, read when asked for."""

    def __init__(self, stack: Stack, position: int) -> None:
        self._stack, self._at = stack, stack.unravel(position)
        self.axes = "".join(a for a in stack.axes if a not in stack.plane_axes)
        self.shape = tuple(stack.size(a) for a in self.axes)
        self.dtype = stack.data.dtype

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        at = iter(self._at)
        whole = tuple(next(at) if a in self._stack.plane_axes else slice(None) for a in self._stack.axes)
        return np.asarray(np.asarray(self._stack.data[whole])[index])


def _open_each(path: PathLike, *, labels: bool) -> list[Stack]:
    path = Path(path).expanduser()
    if not is_pattern(path):
        check_exists(path)
    if is_pattern(path) or (path.is_dir() and not is_zarr(path)):
        opened = partial(_open_file, labels=labels)
        stacks = [replace(opened(f), data=ReopenedFile(f, opened)) for f in image_files(path)]
    elif path.suffix.lower() in TIFF_SUFFIXES and path.is_file():
        _check_not_empty(path)
        stacks = read_tiff_images(path, labels=labels)
    else:
        stacks = [_open(path, labels=labels)]
    return [plane for stack in stacks for plane in split_planes(stack)]


def split_planes(stack: Stack) -> list[Stack]:
    """Split a stack into one stack a plane, named NAME_0000, NAME_0001, ...; a single plane keeps its name."""
    if not stack.plane_axes:
        return [stack]
    if len(stack) > MOST_IMAGES:
        raise InputError(f"{stack.name} holds {len(stack)} images; one by one at most {MOST_IMAGES} can be opened.")
    planes = []
    for position in range(len(stack)):
        data = _Plane(stack, position)
        at = [stack.axes.index(a) for a in data.axes]
        scale, units = tuple(stack.scale[k] for k in at), tuple(stack.units[k] for k in at)
        translate = tuple(stack.translate[k] for k in at)
        name = stack.name if len(stack) == 1 else f"{stack.name}_{position:04d}"
        planes.append(Stack(data, data.axes, scale, units, translate, channels=stack.channels, name=name))
    return planes
