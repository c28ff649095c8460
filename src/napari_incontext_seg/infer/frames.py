"""The planes of a stack as time points: which plane is which, what is kept of them on disk, and how they are read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..core.stack import Stack
from ..core.types import Labels
from ..errors import InputError
from ..io.storing import storing
from .linking import Linking, link

TIME = "ti"  # letters that count time points; a folder of images is a time-lapse
CHUNK = 4096  # pixels along an axis of what is kept on disk


@dataclass(frozen=True)
class TimeGrid:
    """Which plane of a stack is which z of which time point.

    Parameters
    ----------
    axes
        The axes of the stack that count planes, such as ``tz``.
    sizes
        How many planes there are along each.
    """

    axes: str
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, stack: Stack) -> TimeGrid:
        """The grid of a stack. Raises InputError if it has neither time nor z, or other axes besides."""
        times = [a for a in stack.plane_axes if a in TIME]
        others = [a for a in stack.plane_axes if a not in (*TIME, "z")]
        if others or len(times) > 1 or not stack.plane_axes:
            raise InputError(
                f"objects are tracked along t, linked along z, or both; {stack.name or 'the image'} has the axes "
                f"{stack.axes!r}. Name its axes otherwise (axes='tyx'), or track one series at a time."
            )
        return cls(stack.plane_axes, stack.grid)

    def _size(self, letters: str) -> int:
        return next((n for a, n in zip(self.axes, self.sizes, strict=True) if a in letters), 1)

    @property
    def times(self) -> int:
        """How many time points there are; 1 for a z-stack."""
        return self._size(TIME)

    @property
    def depth(self) -> int | None:
        """How many planes a time point has, None where there is no z."""
        return self._size("z") if "z" in self.axes else None

    def position(self, t: int, z: int = 0) -> int:
        """The number of a plane in the stack."""
        at = tuple(z if a == "z" else t for a in self.axes)
        return int(np.ravel_multi_index(at, self.sizes))

    def at(self, position: int) -> tuple[int, int]:
        """(t, z) of a plane; z is 0 where there is none."""
        index = dict(zip(self.axes, np.unravel_index(position, self.sizes), strict=True))
        return int(next((i for a, i in index.items() if a in TIME), 0)), int(index.get("z", 0))


class Spool:
    """Painted planes on disk. The folder goes when nothing refers to it any more."""

    def __init__(self, stack: Stack, folder: str | Path | None) -> None:
        self._path = Path(folder) if folder is not None else Path(tempfile.gettempdir())
        with storing(self._path):
            self.folder = tempfile.TemporaryDirectory(prefix=".incontext-", dir=self._path, ignore_cleanup_errors=True)
            shape = (len(stack), *stack.plane_shape)
            chunks = (1, *(min(CHUNK, n) for n in stack.plane_shape))
            self._labels, self._confidence = (
                zarr.create_array(f"{self.folder.name}/{name}", shape=shape, chunks=chunks, dtype=dtype)
                for name, dtype in (("labels", np.uint32), ("confidence", np.float16))
            )

    def write(self, position: int, labels: Labels, confidence: NDArray[np.float32] | None = None) -> None:
        with storing(self._path):
            self._labels[position] = labels
            if confidence is not None:
                self._confidence[position] = confidence.astype(np.float16)

    def labels(self, position: int) -> Labels:
        return np.asarray(self._labels[position])

    def confidence(self, position: int) -> NDArray[np.float32]:
        return np.asarray(self._confidence[position]).astype(np.float32)


class Frames(Sequence[Any]):
    """The labels of each time point, read when asked for; their planes linked along z, where there is a linking."""

    def __init__(
        self, read: Callable[[int], Labels], grid: TimeGrid, in_z: Sequence[Linking] | None,
        write: Callable[[int, Labels], None] | None = None,
    ) -> None:  # fmt: skip
        self._read, self._grid, self._in_z, self._write = read, grid, in_z, write
        self._replaced: set[int] = set()  # time points whose planes are as linked along z already

    def __len__(self) -> int:
        return self._grid.times

    def plane(self, t: int, z: int) -> Labels:
        plane = self._read(self._grid.position(t, z))
        return plane if self._in_z is None or t in self._replaced else self._in_z[t].apply(plane, z)

    def replace(self, t: int, labels: Labels) -> None:
        """Give these labels for a time point from now on."""
        assert self._write is not None
        for z, plane in enumerate(labels if labels.ndim == 3 else labels[None]):
            self._write(self._grid.position(t, z), plane)
        self._replaced.add(t)

    def __getitem__(self, t: Any) -> Any:
        if self._grid.depth is None:
            return self.plane(t, 0)
        return np.stack([self.plane(t, z) for z in range(self._grid.depth)])


class Planes(Sequence[Any]):
    """The planes of one time point."""

    def __init__(self, read: Callable[[int], Any], grid: TimeGrid, t: int) -> None:
        self._read, self._grid, self._t = read, grid, t

    def __len__(self) -> int:
        return self._grid.depth or 1

    def __getitem__(self, z: Any) -> Any:
        return self._read(self._grid.position(self._t, z))


class Maps(Sequence[Any]):
    """Something (Y, X, ...) of every plane, a time point at a time."""

    def __init__(self, read: Callable[[int], Any], grid: TimeGrid) -> None:
        self._read, self._grid = read, grid

    def __len__(self) -> int:
        return self._grid.times

    def __getitem__(self, t: Any) -> Any:
        planes = Planes(self._read, self._grid, t)
        return planes[0] if self._grid.depth is None else np.stack([planes[z] for z in range(len(planes))])


class Images(Maps):
    """Raw values of the channels that are looked at."""

    def __init__(self, stack: Stack, grid: TimeGrid) -> None:
        super().__init__(lambda position: stack.read(position)[..., list(stack.used_channels)], grid)


def stitched(
    read: Callable[[int], Labels], grid: TimeGrid, stack: Stack, names: Mapping[int, list[int]], *, linked: bool,
    write: Callable[[int, Labels], None] | None = None,
) -> Frames:  # fmt: skip
    """The labels of each time point; if ``linked``, profiles in neighbouring planes are made 3-D objects."""
    if not linked:
        return Frames(read, grid, None, write)
    at = {position: grid.at(position) for position in names}
    in_z = [
        link(
            Planes(read, grid, t), along="z", spacing=voxel_size(stack, grid),
            named={at[p][1]: ids for p, ids in names.items() if at[p][0] == t},
        )
        for t in range(grid.times)
    ]  # fmt: skip
    return Frames(read, grid, in_z, write)


def voxel_size(stack: Stack, grid: TimeGrid) -> tuple[float, ...]:
    """Size of a pixel or voxel in the stack's unit; 1 where its axes have different units or none fits."""
    axes = "yx" if grid.depth is None else "zyx"
    at = [stack.axes.index(a) for a in axes]
    sizes = tuple(abs(stack.scale[k]) for k in at)
    same = len({stack.units[k] for k in at}) == 1 and all(0 < s < np.inf for s in sizes)
    return sizes if same else (1.0,) * len(axes)
