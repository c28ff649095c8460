"""`track`: objects are painted plane by plane, then linked: in z to 3-D objects, in time to tracks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..core.labels import as_labels, split_ignored
from ..core.objects import numbered
from ..core.stack import Stack
from ..core.tracks import Tracks
from ..core.types import Context, Labels, Predictor, Segmentation
from ..errors import InputError
from ..io.storing import storing
from .identity import Confirmed
from .linking import Linking, link
from .propagate import Step, propagate

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


@dataclass(frozen=True, eq=False)
class Tracking:
    """What `track` and `track_labels` found. Labels are made plane by plane when they are asked for.

    Parameters
    ----------
    stack
        The image; or the labels, where there is none.
    linking
        Which object of each time point belongs to which track.
    annotated
        Numbers of the planes that a person had annotated.
    context
        What the model was shown; None where masks were given.
    """

    stack: Stack
    linking: Linking
    annotated: frozenset[int]
    context: Context | None
    _grid: TimeGrid
    _frames: _Frames
    _confidence: Callable[[int], NDArray[np.float32]] | None = None
    _kept: Any = field(default=None, repr=False)  # the folder on disk, which goes with this object

    def __len__(self) -> int:
        return len(self.stack)

    @cached_property
    def tracks(self) -> Tracks:
        """Every object of every time point, with lineage."""
        axes = "tyx" if self._grid.depth is None else "tzyx"
        at = [
            next((k for k, b in enumerate(self.stack.axes) if b == a or (a == "t" and b in TIME)), None) for a in axes
        ]
        scale = tuple(1.0 if k is None else abs(self.stack.scale[k]) or 1.0 for k in at)
        units = tuple("" if k is None else self.stack.units[k] for k in at)
        return self.linking.table(scale=scale, units=units, axes=axes)

    def labels(self, position: int) -> Labels:
        """The labels (Y, X) of a plane; ids are track ids."""
        t, z = self._grid.at(position)
        return self.linking.apply(self._frames.plane(t, z), t)

    def confidence(self, position: int) -> NDArray[np.float32] | None:
        """How sure each pixel (Y, X) of a plane was painted; None where masks were given."""
        return None if self._confidence is None else self._confidence(position)

    def frames(self) -> Iterator[NDArray[np.uint32]]:
        """Yield the labels (Y, X) or (Z, Y, X) of each time point."""
        for t in range(len(self._frames)):
            yield self.linking.apply(self._frames[t], t)

    def __iter__(self) -> Iterator[Step]:
        """Yield every plane in order, as propagation does."""
        for position in range(len(self)):
            labels, known = self.labels(position), self.confidence(position)
            sure = np.ones(labels.shape, np.float32) if known is None else known
            yield Step(position, Segmentation(labels, sure), annotated=position in self.annotated)


def track(
    stack: Stack,
    annotations: Mapping[int, Any],
    predictor: Predictor,
    *,
    max_distance: float | None = None,
    max_gap: int = 1,
    divisions: bool = True,
    ignore_label: int | None = None,
    context: Context | None = None,
    folder: str | Path | None = None,
    on_plane: Callable[[], None] | None = None,
) -> Tracking:
    """Paint the objects of a time-lapse or z-stack as in annotated planes, and give each one id throughout.

    Objects are painted plane by plane (kind ``instance``); profiles in neighbouring planes of a z-stack are linked to
    3-D objects; objects of neighbouring time points are linked to tracks. Annotated planes come out exactly as they
    are: the id of an annotated object is its track id, and the same id in two annotated planes is the same object,
    whatever the model thinks. So to correct a track, correct a plane and run again.

    Planes are painted onto disk and read again one time point at a time, so memory does not grow with the series.

    Parameters
    ----------
    stack
        The image, with an axis t (or i, a folder of images), z, or both.
    annotations
        Plane number -> labels (Y, X), one id an object. May be empty if there is a ``context``.
    predictor
        From `load_predictor`.
    max_distance, max_gap, divisions
        See `link`. Distances are in the unit of the image's scale; in pixels where the file does not say.
    ignore_label, context
        See `propagate`.
    folder
        Where planes are kept meanwhile; default: the system's folder for temporary files.
    on_plane
        Called after each painted plane, and after each linked time point.

    Returns
    -------
    Tracking
        `Tracking.tracks`, and labels by plane.

    Raises
    ------
    InputError
        As `propagate`; a stack without t and z; an object annotated in two ways.
    FileError, ResourceError
        The folder cannot be written to, or is full.
    """
    grid = TimeGrid.of(stack)
    run = propagate(stack, annotations, predictor, kind="instance", ignore_label=ignore_label, context=context)
    given = {p: split_ignored(labels, ignore_label) for p, labels in annotations.items()}
    names = {p: numbered(labels[labels > 0])[0].tolist() for p, (labels, _) in given.items()}
    taken = np.array(sorted({i for ids in names.values() for i in ids}), np.int64)
    spool = _Spool(stack, folder)
    for step in run:
        spool.write(step.position, _apart(step, given.get(step.position), taken), step.segmentation.confidence)
        if on_plane is not None:
            on_plane()
    frames = _stitched(spool.labels, grid, run.stack, names, linked=grid.depth is not None, write=spool.write)
    named: dict[int, set[int]] = {}
    for position, ids in names.items():
        named.setdefault(grid.at(position)[0], set()).update(ids)
    linking = link(
        frames, images=_Images(run.stack, grid), confidence=_Maps(spool.confidence, grid),
        spacing=_spacing(stack, grid), max_distance=max_distance, max_gap=max_gap, divisions=divisions, named=named,
        part=frames.replace, on_frame=None if on_plane is None else lambda _: on_plane(),
    )  # fmt: skip
    return Tracking(
        run.stack, linking, frozenset(annotations), run.context, grid, frames, spool.confidence, spool.folder
    )


def track_labels(
    labels: Stack,
    image: Stack | None = None,
    *,
    stitch: bool | None = None,
    max_distance: float | None = None,
    max_gap: int = 1,
    divisions: bool = True,
    confirmed: Iterable[Confirmed] = (),
    named: Collection[int] = (),
    on_plane: Callable[[], None] | None = None,
) -> Tracking:
    """Link the objects of masks that somebody has: see `track`, which also paints them.

    Parameters
    ----------
    labels
        One id an object; ids of different time points need not agree.
    image
        Of the same shape, for brightness and drift.
    stitch
        Whether to link profiles along z first, because ids of different planes do not agree; default: in a z-stack
        without time only.
    max_distance, max_gap, divisions, confirmed
        See `link`.
    named
        Time points in which ids are right: they become the track ids.
    on_plane
        Called after each linked time point.

    Raises
    ------
    InputError
        Labels without t and z, an image that does not fit, or contradictions in what is confirmed.
    """
    grid = TimeGrid.of(labels)
    if image is not None and (len(image) != len(labels) or image.plane_shape != labels.plane_shape):
        raise InputError(
            f"the image must match the labels, {len(labels)} slices of {labels.plane_shape}; got {len(image)} of "
            f"{image.plane_shape}."
        )
    linked = grid.depth is not None and (grid.times == 1 if stitch is None else stitch)
    frames = _stitched(lambda p: as_labels(labels.read(p)[..., 0]), grid, image or labels, {}, linked=linked)
    names = {t: [int(i) for i in np.unique(frames[t]) if i] for t in named}
    linking = link(
        frames, images=None if image is None else _Images(image, grid), spacing=_spacing(image or labels, grid),
        max_distance=max_distance, max_gap=max_gap, divisions=divisions, confirmed=confirmed, named=names,
        on_frame=None if on_plane is None else lambda _: on_plane(),
    )  # fmt: skip
    return Tracking(image or labels, linking, frozenset(), None, grid, frames)


# -- planes, frames and what is kept on disk ------------------------------------------------------------------------
class _Spool:
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


def _apart(step: Step, given: tuple[Labels, NDArray[np.bool_]] | None, names: NDArray[np.int64]) -> Labels:
    """Labels in which no painted object has an id that is a name, so that none is taken for an annotated one."""
    labels = step.segmentation.labels
    painted = labels > 0 if given is None else (labels > 0) & ~given[1]
    found, inverse = numbered(labels[painted])
    free = np.setdiff1d(np.arange(1, len(found) + len(names) + 1), names)
    apart = labels.copy()
    apart[painted] = free[inverse]
    return apart


class _Frames(Sequence[Any]):
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


class _Planes(Sequence[Any]):
    """The planes of one time point."""

    def __init__(self, read: Callable[[int], Any], grid: TimeGrid, t: int) -> None:
        self._read, self._grid, self._t = read, grid, t

    def __len__(self) -> int:
        return self._grid.depth or 1

    def __getitem__(self, z: Any) -> Any:
        return self._read(self._grid.position(self._t, z))


class _Maps(Sequence[Any]):
    """Something (Y, X, ...) of every plane, a time point at a time."""

    def __init__(self, read: Callable[[int], Any], grid: TimeGrid) -> None:
        self._read, self._grid = read, grid

    def __len__(self) -> int:
        return self._grid.times

    def __getitem__(self, t: Any) -> Any:
        planes = _Planes(self._read, self._grid, t)
        return planes[0] if self._grid.depth is None else np.stack([planes[z] for z in range(len(planes))])


class _Images(_Maps):
    """Raw values of the channels that are looked at."""

    def __init__(self, stack: Stack, grid: TimeGrid) -> None:
        super().__init__(lambda position: stack.read(position)[..., list(stack.used_channels)], grid)


def _stitched(
    read: Callable[[int], Labels], grid: TimeGrid, stack: Stack, names: Mapping[int, list[int]], *, linked: bool,
    write: Callable[[int, Labels], None] | None = None,
) -> _Frames:  # fmt: skip
    """The labels of each time point; if ``linked``, profiles in neighbouring planes are made 3-D objects."""
    if not linked:
        return _Frames(read, grid, None, write)
    at = {position: grid.at(position) for position in names}
    in_z = [
        link(
            _Planes(read, grid, t), along="z", spacing=_spacing(stack, grid),
            named={at[p][1]: ids for p, ids in names.items() if at[p][0] == t},
        )
        for t in range(grid.times)
    ]  # fmt: skip
    return _Frames(read, grid, in_z, write)


def _spacing(stack: Stack, grid: TimeGrid) -> tuple[float, ...]:
    """Size of a pixel or voxel in the stack's unit; 1 where its axes have different units or none fits."""
    axes = "yx" if grid.depth is None else "zyx"
    at = [stack.axes.index(a) for a in axes]
    sizes = tuple(abs(stack.scale[k]) for k in at)
    same = len({stack.units[k] for k in at}) == 1 and all(0 < s < np.inf for s in sizes)
    return sizes if same else (1.0,) * len(axes)
