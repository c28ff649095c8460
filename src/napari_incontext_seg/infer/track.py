"""`track`: objects are painted plane by plane, then linked: in z to 3-D objects, in time to tracks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ..core.labels import as_labels, split_ignored
from ..core.objects import numbered
from ..core.stack import Stack
from ..core.tracks import Tracks
from ..core.types import Context, Labels, Predictor, Segmentation
from ..errors import InputError
from .frames import TIME, Frames, Images, Maps, Spool, stitched, voxel_size
from .frames import TimeGrid as TimeGrid
from .identity import Confirmed
from .linking import Linking, link
from .propagate import Step, propagate
from .route import Direction

By: TypeAlias = Literal["links", "colour"]


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
    _frames: Frames
    _confidence: Callable[[int], NDArray[np.float32]] | None = None
    _kept: Any = field(default=None, repr=False)  # the folder on disk, which goes with this object

    def __repr__(self) -> str:
        return f"<Tracking of {self.stack!r}: {self.linking!r}>"

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
    by: By = "links",
    memory: int = 0,
    direction: Direction = "both",
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
    by
        ``links``: objects are painted as such, and linked. ``colour``: up to 13 annotated objects, and no others, are
        told apart by their looks; each annotated plane may lack some (see ``names`` of `propagate`). None divides.
    memory, direction, ignore_label, context
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
        As `propagate`; ``by`` something else; a stack without t and z; an object annotated in two ways.
    FileError, ResourceError
        The folder cannot be written to, or is full.
    """
    if by not in get_args(By):
        raise InputError(f"objects are followed by {' or '.join(get_args(By))}; got {by!r}.")
    grid = TimeGrid.of(stack)
    colour = by == "colour"
    run = propagate(
        stack, annotations, predictor, kind="semantic" if colour else "instance", ignore_label=ignore_label,
        context=context, memory=memory, direction=direction, names=colour,
    )  # fmt: skip
    given = {p: split_ignored(labels, ignore_label) for p, labels in annotations.items()}
    names = {p: numbered(labels[labels > 0])[0].tolist() for p, (labels, _) in given.items()}
    taken = np.array(sorted({i for ids in names.values() for i in ids}), np.int64)
    spool = Spool(stack, folder)
    for step in run:
        labels = step.segmentation.labels
        if colour:
            names[step.position] = numbered(labels[labels > 0])[0].tolist()
        else:
            labels = _apart(step, given.get(step.position), taken)
        spool.write(step.position, labels, step.segmentation.confidence)
        if on_plane is not None:
            on_plane()
    linked = grid.depth is not None and not colour
    frames = stitched(spool.labels, grid, run.stack, names, linked=linked, write=spool.write)
    named: dict[int, set[int]] = {}
    for position, ids in names.items():
        named.setdefault(grid.at(position)[0], set()).update(ids)
    linking = link(
        frames, images=Images(run.stack, grid), confidence=Maps(spool.confidence, grid),
        spacing=voxel_size(stack, grid), max_distance=max_distance, max_gap=max_gap, divisions=divisions and not colour,
        named=named, part=None if colour else frames.replace,
        on_frame=None if on_plane is None else lambda _: on_plane(),
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
    frames = stitched(lambda p: as_labels(labels.read(p)[..., 0]), grid, image or labels, {}, linked=linked)
    names = {t: [int(i) for i in np.unique(frames[t]) if i] for t in named}
    linking = link(
        frames, images=None if image is None else Images(image, grid), spacing=voxel_size(image or labels, grid),
        max_distance=max_distance, max_gap=max_gap, divisions=divisions, confirmed=confirmed, named=names,
        on_frame=None if on_plane is None else lambda _: on_plane(),
    )  # fmt: skip
    return Tracking(image or labels, linking, frozenset(), None, grid, frames)


def _apart(step: Step, given: tuple[Labels, NDArray[np.bool_]] | None, names: NDArray[np.int64]) -> Labels:
    """Labels in which no painted object has an id that is a name, so that none is taken for an annotated one."""
    labels = step.segmentation.labels
    painted = labels > 0 if given is None else (labels > 0) & ~given[1]
    found, inverse = numbered(labels[painted])
    free = np.setdiff1d(np.arange(1, len(found) + len(names) + 1), names)
    apart = labels.copy()
    apart[painted] = free[inverse]
    return apart
