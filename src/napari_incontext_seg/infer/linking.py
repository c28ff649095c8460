"""`link`: objects of neighbouring frames, or planes, are given one id each: tracks, or 3-D objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..core.objects import Objects, measure_objects, numbered
from ..core.tracks import Tracks
from ..core.words import counted
from ..errors import InputError
from .assignment import assign
from .identity import Confirmed, Identities
from .lineage import Nodes, close_gaps, divide, join_said, number_tracks
from .motion import Motion, Vectors, diameters, estimate_motion, frame_drift, overlap_counts, volume
from .parting import FOUNDED, find_fused, part_fused
from .untangling import untangle

DISTANCE = 4.5  # cost of an object found `max_distance` from where it was expected: three standard deviations
LOOKS = 2.0  # most that a change of area, or of brightness, costs: a cell that rounds up is still the same
OVERLAP = 3.0  # cost where nothing overlaps
NEW = 8.0  # a link of this cost is worse than an end and a beginning
COVERED = 0.5  # share of the smaller profile that must lie on its neighbour in z, if planes are close


@dataclass(frozen=True, eq=False)
class Linking:
    """Which object of each frame belongs to which track. Made by `link`.

    Parameters
    ----------
    objects
        What was measured, a table a frame.
    tracks
        For each frame the track of each of its objects, in the order of `Objects.ids`.
    confidence
        For each frame, in [0, 1], how much better each object's link to the frame before is than any other; 1 for
        links that were confirmed, NaN where a track begins.
    parents
        Daughter -> mother tracks.
    drift
        (T, 3) pixels, by how much each frame has moved since the one before.
    motion
        What was found typical; None for planes in z.
    """

    objects: tuple[Objects, ...]
    tracks: tuple[NDArray[np.int64], ...]
    confidence: tuple[NDArray[np.float64], ...]
    parents: Mapping[int, tuple[int, ...]]
    drift: Vectors
    motion: Motion | None

    def __repr__(self) -> str:
        tracks, frames = len(np.unique(np.concatenate((*self.tracks, [])))), len(self.objects)
        objects = sum(len(found) for found in self.objects)
        return f"<Linking of {counted(tracks, 'track')} in {counted(frames, 'frame')}, {counted(objects, 'object')}>"

    def apply(self, labels: Any, frame: int) -> NDArray[np.uint32]:
        """Return the labels of a frame, their ids replaced by track ids.

        Raises
        ------
        InputError
            Labels that are not those that were linked.
        """
        array = np.asarray(labels)
        at = np.flatnonzero(array)
        ids, inverse = numbered(array.ravel()[at])
        known = self.objects[frame].ids
        place = np.searchsorted(known, ids)
        if len(ids) and (place.max() >= len(known) or (known[place] != ids).any()):
            raise InputError(f"the labels of frame {frame} hold objects that were not linked: link them again.")
        out = np.zeros(array.size, np.uint32)
        out[at] = self.tracks[frame][place][inverse]
        return out.reshape(array.shape)

    def table(self, *, scale: Sequence[float] = (), units: Sequence[str] = (), axes: str = "tyx") -> Tracks:
        """The tracks as a table; confidence is the lower of an object's own and its link's."""
        t = np.concatenate([np.full(len(o), k) for k, o in enumerate(self.objects)])
        names = ("centroid", "area", "mean_intensity", "confidence")
        columns: dict[str, Any] = {n: np.concatenate([getattr(o, n) for o in self.objects]) for n in names}
        sure = np.fmin(columns.pop("confidence"), np.concatenate(self.confidence))
        track = np.concatenate(self.tracks)
        return Tracks(
            track, t, **columns, confidence=sure, parents=self.parents, axes=axes, scale=tuple(scale),
            units=tuple(units),
        )  # fmt: skip


def link(
    frames: Sequence[Any],
    *,
    along: Literal["t", "z"] = "t",
    images: Sequence[Any] | None = None,
    confidence: Sequence[Any] | None = None,
    spacing: Sequence[float] | None = None,
    max_distance: float | None = None,
    max_gap: int = 1,
    divisions: bool = True,
    confirmed: Iterable[Confirmed] = (),
    named: Mapping[int, Collection[int]] | None = None,
    part: Callable[[int, NDArray[np.uint32]], None] | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Linking:
    """Link the objects of neighbouring frames in time, or of neighbouring planes in z.

    Frames are read one after the other and two are held at a time; what stays is a table of the objects of each.
    In time, an object is looked for where it would be if the frame's drift and its own last step went on. A link costs
    what it lacks in overlap there, its distance, and the change of area and brightness, each against what is usual in
    the series; frame by frame laptrack finds the links of least total cost. Then tracks that begin beside another are
    taken for daughters where both are about equal and the mother about their sum, and gaps are closed. In z, overlap
    alone decides: two profiles of which little lies on each other are two cells on top of each other.

    Parameters
    ----------
    frames
        Labels (Y, X) or (Z, Y, X) a time point, or (Y, X) a plane: an array or anything with a length that gives one
        frame an index. 0 is background, ids of different frames need not agree.
    along
        ``t`` or ``z``.
    images
        As many images, for drift and brightness; channels on a last axis are averaged.
    confidence
        As many maps of how sure each pixel is.
    spacing
        Size of a pixel or voxel: (z, y, x), or (y, x) in a time-lapse of planes; default 1.
    max_distance
        How far from where it is expected an object is looked for, in units of ``spacing``; default: three times what
        nine in ten objects move, at least 0.75 and at most 2.5 diameters.
    max_gap
        For how many frames an object may be missing.
    divisions
        Whether objects may divide; in z they never do.
    confirmed
        (frame, id, later frame, id) of links that must be; two from one object are a division, unless they lead
        to the same id in different frames.
    named
        Frame -> ids in it that are names: these ids become the track ids.
    part
        Called with a frame's number and its new labels where well-known objects had run together into one, which was
        parted: ``frames`` must give these labels from then on. None: labels stay as they are. In time only.
    on_frame
        Called with the number of each frame that is done.

    Raises
    ------
    InputError
        Frames that do not fit each other, confirmed links that contradict each other, or a setting out of range.
    """
    spacing_zyx = _spacing(frames, along, spacing)
    if images is not None and len(images) != len(frames):
        raise InputError(f"each frame of labels needs an image: got {len(frames)} and {len(images)}.")
    if max_gap < 0 or (max_distance is not None and not max_distance > 0):
        raise InputError(f"max_gap must be 0 or more and max_distance above 0; got {max_gap} and {max_distance}.")
    identities = Identities(confirmed, named)
    motion = estimate_motion(frames, images, spacing_zyx, max_distance) if along == "t" else None
    nodes, objects, drift = _link_frames(frames, images, confidence, spacing_zyx, motion, identities, part, on_frame)
    if motion is not None:
        untangle(nodes, motion)
        if divisions:
            divide(nodes, motion, identities)
    join_said(nodes)
    close_gaps(nodes, motion or _in_planes(objects, spacing_zyx), max_gap)
    tracks, parents = number_tracks(nodes, identities)
    ends = np.cumsum([len(o) for o in objects])[:-1]
    return Linking(
        tuple(objects), tuple(np.split(tracks, ends)), tuple(np.split(nodes.sure, ends)), parents, drift, motion
    )


def _spacing(frames: Sequence[Any], along: str, spacing: Sequence[float] | None) -> Vectors:
    """(3,) size of a voxel; checks the dimensions of the first frame against it."""
    if along not in ("t", "z"):
        raise InputError(f"objects are linked along t or z; got {along!r}.")
    if not len(frames):
        raise InputError("there is no frame to link.")
    dimensions = len(np.shape(frames[0]))
    if dimensions not in ((2, 3) if along == "t" else (2,)):
        raise InputError(
            f"a frame must be (Y, X), or (Z, Y, X) along t; got shape {np.shape(frames[0])} along {along}."
        )
    size = np.array(spacing if spacing is not None else (1.0,) * 3, float)
    wanted = (2, 3) if dimensions == 2 and along == "t" else (3,)
    if size.shape not in [(n,) for n in wanted] or not ((size > 0) & np.isfinite(size)).all():
        raise InputError(f"spacing must be {' or '.join(map(str, wanted))} positive numbers; got {spacing}.")
    return size if len(size) == 3 else np.array([1.0, *size])


# -- frame to frame ---------------------------------------------------------------------------------------------------
@dataclass(eq=False)
class _Frame:
    """A frame that was just done, as the next one needs it."""

    labels: NDArray[Any]
    image: Any
    objects: Objects
    velocity: Vectors  # (N, 3) pixels, the last step of each object less the drift
    chains: NDArray[np.int64]  # (N,) group of what a person has said, carried along
    age: NDArray[np.int64]  # (N,) for how many frames each has been followed

    @classmethod
    def of(cls, labels: NDArray[Any], image: Any, objects: Objects, said: NDArray[np.int64]) -> _Frame:
        """A frame of which nothing is known yet but what a person has said."""
        age = np.where(said >= 0, FOUNDED, 1)
        return cls(labels, image, objects, np.zeros((len(objects), 3)), said.copy(), age)

    def follow(self, last: _Frame, before: NDArray[np.int64], drift: Vectors) -> None:
        """Take over what is known of the objects from the frame before."""
        linked = np.flatnonzero(before >= 0)
        earlier = before[linked]
        self.velocity[linked] = self.objects.centroid[linked] - last.objects.centroid[earlier] - drift
        self.chains[linked] = np.maximum(self.chains[linked], last.chains[earlier])
        self.age[linked] = np.maximum(self.age[linked], last.age[earlier] + 1)


def _link_frames(
    frames: Sequence[Any], images: Sequence[Any] | None, confidence: Sequence[Any] | None, spacing: Vectors,
    motion: Motion | None, identities: Identities, part: Callable[[int, NDArray[np.uint32]], None] | None,
    on_frame: Callable[[int], None] | None,
) -> tuple[Nodes, list[Objects], Vectors]:  # fmt: skip
    """Link each frame to the one before; what is chosen goes into `Nodes`."""
    nodes, objects, drift = Nodes(spacing), [], np.zeros((len(frames), 3))
    last: _Frame | None = None
    for t in range(len(frames)):
        image, sureness = (None if maps is None else maps[t] for maps in (images, confidence))
        now = _frame(t, np.asarray(frames[t]), image, sureness, identities)
        before, sure = np.full(len(now.objects), -1), np.full(len(now.objects), np.nan)
        if last is not None:
            if now.labels.shape != last.labels.shape:
                raise InputError(f"frame {t} has shape {now.labels.shape}, the frame before {last.labels.shape}.")
            if motion is not None:
                pair = None if images is None else (last.image, image)
                drift[t] = frame_drift((last.labels, now.labels), pair, (last.objects, now.objects))
            before, sure = _link_pair(t, last, now, drift[t], spacing, motion, identities)
            if part is not None and motion is not None:
                labels = _parted(last, now, before, drift[t] + motion.persistence * last.velocity, spacing)
                if labels is not None:
                    part(t, labels)
                    now = _frame(t, labels, image, sureness, identities)
                    before, sure = _link_pair(t, last, now, drift[t], spacing, motion, identities)
            now.follow(last, before, drift[t])
        here = identities.of(t, now.objects.ids)
        nodes.add(t, now.objects, before, sure, here, drift[t], now.velocity)
        objects.append(now.objects)
        last = now
        if on_frame is not None:
            on_frame(t)
    nodes.close()
    return nodes, objects, drift


def _frame(t: int, labels: NDArray[Any], image: Any, confidence: Any, identities: Identities) -> _Frame:
    objects = measure_objects(labels, image, confidence)
    return _Frame.of(labels, image, objects, identities.of(t, objects.ids))


def _parted(
    last: _Frame, now: _Frame, before: NDArray[np.int64], moved: Vectors, spacing: Vectors
) -> NDArray[np.uint32] | None:
    """The labels of a frame without what ran together, None if nothing did; what a person annotated is not touched."""
    tables = last.objects, now.objects
    fused = find_fused(last.labels, now.labels, moved, tables, before, last.age)
    fused = {column: rows for column, rows in fused.items() if now.chains[column] < 0}
    return part_fused(last.labels, now.labels, moved, tables, fused, spacing) if fused else None


def _link_pair(
    t: int, last: _Frame, now: _Frame, drift: Vectors, spacing: Vectors, motion: Motion | None, identities: Identities
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each object of a frame its number in the frame before, -1 for none, and how sure that is."""
    before, sure = np.full(len(now.objects), -1), np.full(len(now.objects), np.nan)
    if not len(now.objects) or not len(last.objects):
        return before, sure
    if motion is None:
        rows, columns, costs = _overlapping(last, now, spacing)
    else:
        moved = drift + motion.persistence * last.velocity
        rows, columns, costs = _candidates(last, now, moved, spacing, motion)
    certainty = _certainty(rows, columns, costs)
    here = identities.of(t, now.objects.ids)
    free = identities.possible(t, last.chains, here, rows, columns)
    free &= ~identities.born(t, now.objects.ids)[columns]
    free &= ~identities.divided(t - 1, last.objects.ids)[rows]
    rows_free, columns_free = rows[free], columns[free]
    chosen = assign(rows_free, columns_free, costs[free], NEW)
    before[columns_free[chosen]] = rows_free[chosen]
    sure[columns_free[chosen]] = certainty[free][chosen]
    said = identities.of(t - 1, last.objects.ids)
    for i, j in identities.forced(t, last.chains, here).items():
        match = np.flatnonzero((rows == i) & (columns == j))
        before[j] = i
        sure[j] = 1.0 if said[i] >= 0 else float(certainty[match[0]]) if len(match) else 0.0
    return before, sure


def _candidates(
    last: _Frame, now: _Frame, moved: Vectors, spacing: Vectors, motion: Motion
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows, columns and costs of all pairs within `Motion.max_distance` of where they are expected, or that overlap."""
    a, b = last.objects, now.objects
    expected, found = (a.centroid + moved) * spacing, b.centroid * spacing
    near = cKDTree(expected).sparse_distance_matrix(cKDTree(found), motion.max_distance, output_type="coo_matrix")
    over_row, over_column, shared = overlap_counts(volume(last.labels), volume(now.labels), moved)
    width = len(b)
    pairs = np.unique(np.concatenate([near.row * np.int64(width) + near.col, over_row * width + over_column]))
    rows, columns = np.divmod(pairs, width)
    overlap = np.zeros(len(pairs))
    at = np.searchsorted(pairs, over_row * width + over_column)
    overlap[at] = shared / (a.area[over_row] + b.area[over_column] - shared)  # intersection over union
    distance = np.linalg.norm(expected[rows] - found[columns], axis=1) / motion.max_distance
    costs = DISTANCE * np.minimum(distance, 1.0) ** 2 + OVERLAP * (1 - overlap)
    costs += _change(np.log(b.area[columns] / a.area[rows]), motion.area_spread)
    if motion.intensity_spread > 0:
        change = b.mean_intensity[columns] - a.mean_intensity[rows]
        costs += np.where(np.isfinite(change), _change(change, motion.intensity_spread), 0)
    return rows, columns, costs


def _change(change: Vectors, spread: float) -> Vectors:
    return np.minimum((change / spread) ** 2 / 8, LOOKS)  # twice what is usual costs a half


def _overlapping(
    last: _Frame, now: _Frame, spacing: Vectors
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows, columns and costs of the profiles in two neighbouring planes that lie on each other well enough.

    The farther planes are apart, measured in diameters, the less of a slanted cell lies on its next profile.
    """
    a, b = last.objects, now.objects
    rows, columns, shared = overlap_counts(volume(last.labels), volume(now.labels), np.zeros((len(a), 3)))
    smaller = np.minimum(a.area[rows], b.area[columns])
    size = np.minimum(diameters(a, spacing, True)[rows], diameters(b, spacing, True)[columns])
    enough = shared / smaller >= COVERED / (1 + spacing[0] / size)
    union = a.area[rows] + b.area[columns] - shared
    costs = OVERLAP * (2 - shared / union - shared / smaller)
    return rows[enough], columns[enough], costs[enough]


def _certainty(rows: NDArray[np.int64], columns: NDArray[np.int64], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each candidate how likely it is beside all others of its row and of its column, and no link at all."""
    weight, none = np.exp(-costs), np.exp(-NEW)
    if not len(costs):
        return weight
    by_row, by_column = np.bincount(rows, weight), np.bincount(columns, weight)
    certain: NDArray[np.float64] = weight / (np.maximum(by_row[rows], by_column[columns]) + none)
    return certain


def _in_planes(objects: Sequence[Objects], spacing: Vectors) -> Motion:
    """How far a profile may be from one beyond a gap: a quarter of a usual diameter, so that they overlap well."""
    sizes = np.concatenate([diameters(o, spacing, True) for o in objects])
    diameter = float(np.median(sizes)) if len(sizes) else 1.0
    return Motion(diameter, diameter / 4, 0.0, 0.5, float("nan"))
