"""How `tracking.py` follows objects, ours and the two baselines, and how it scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from _methods import FOREST_PIXELS, _forest_features
from _sets import AnnotatedSet
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.registration import optical_flow_ilk
from skimage.segmentation import watershed
from sklearn.ensemble import RandomForestClassifier

from napari_incontext_seg.core.objects import measure_objects
from napari_incontext_seg.core.tracks import Tracks
from napari_incontext_seg.infer.predictor import load_predictor
from napari_incontext_seg.infer.propagate import propagate
from napari_incontext_seg.infer.track import track

Plane = NDArray[Any]
FLOW_RADIUS = 9  # px; window of the optical flow


@dataclass(eq=False)
class Followed:
    """Labels (Y, X) of every frame whose ids are tracks, and child -> parents."""

    frames: list[Plane]
    parents: Mapping[int, Sequence[int]] = field(default_factory=dict)


# -- ours -----------------------------------------------------------------------------------------------------------
def follow_model(data: AnnotatedSet) -> Followed:
    """Many objects are tracked; few, in a video, are painted by their colours."""
    predictor: Any = load_predictor("auto")
    if not data.is_video:
        found = track(data.stack(), {0: data.labels[0]}, predictor)
        return Followed(list(found.frames()), found.tracks.parents)
    steps = propagate(data.stack(), data.given, predictor, names=True)
    painted = {s.position: s.segmentation.labels for s in steps}
    return Followed([painted[t] for t in range(len(painted))])


# -- baselines ------------------------------------------------------------------------------------------------------
def follow_forest(data: AnnotatedSet) -> Followed:
    """A random forest on pixels, a watershed of the distance to background, and laptrack with its default settings."""
    classes = data.given[0] if data.is_video else data.labels[0] > 0
    forest = RandomForestClassifier(100, min_samples_leaf=4, max_features="sqrt", n_jobs=2, random_state=0)
    chosen = np.random.default_rng(0).permutation(classes.size)[:FOREST_PIXELS]
    seen, said = [_forest_features(data.images[0])[chosen]], [classes.ravel()[chosen]]
    for t, later in data.given.items():
        if t:  # only what is labelled says something
            seen.append(_forest_features(data.images[t])[later.ravel() > 0])
            said.append(later[later > 0])
    forest.fit(np.concatenate(seen), np.concatenate(said))
    maps = [forest.predict(_forest_features(image)).reshape(classes.shape) for image in data.images]
    if data.is_video:
        return Followed(maps)
    areas = measure_objects(data.labels[0]).area
    radius = float(np.sqrt(np.median(areas) / np.pi))
    frames = [data.labels[0], *(split_by_distance(m > 0, radius, float(np.median(areas)) / 10) for m in maps[1:])]
    return Followed(laptrack_defaults(frames))


def split_by_distance(mask: NDArray[np.bool_], radius: float, least: float) -> Plane:
    """Objects of a mask: a watershed from the peaks of the distance to background, small ones dropped."""
    distance = ndimage.distance_transform_edt(mask)
    apart = max(1, round(radius / 2))
    peaks = peak_local_max(distance, min_distance=apart, labels=mask.astype(int), exclude_border=False)
    markers = np.zeros(mask.shape, int)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-distance, markers, mask=mask)
    kept = np.bincount(labels.ravel()) >= least
    return np.where(kept[labels], labels, 0)


def laptrack_defaults(frames: Sequence[Plane]) -> list[Plane]:
    """Link centroids; the ids of the first frame are kept."""
    from laptrack import LapTrack

    tables = [measure_objects(f) for f in frames]
    tree = LapTrack().predict([t.centroid[:, 1:] for t in tables])
    ids: dict[tuple[int, int], int] = {(0, k): int(i) for k, i in enumerate(tables[0].ids)}
    unused = int(tables[0].ids.max(initial=0))
    for node in sorted(tree.nodes):
        before = list(tree.predecessors(node))
        if node not in ids:
            unused += not before
            ids[node] = ids[before[0]] if before else unused
    return [
        np.concatenate([[0], [ids[t, k] for k in range(len(o))]])[np.searchsorted(np.r_[0, o.ids], frame)]
        for t, (frame, o) in enumerate(zip(frames, tables, strict=True))
    ]


def follow_flow(data: AnnotatedSet) -> Followed:
    """The annotated labels, carried from frame to frame by optical flow."""
    grey = [i.mean(axis=-1) if i.ndim == 3 else i.astype(float) for i in data.images]
    low, high = np.percentile(grey[0], (0.5, 99.5))
    grey = [np.clip((g - low) / max(high - low, 1e-6), 0, 1) for g in grey]
    y, x = np.indices(grey[0].shape)
    frames = [data.given[0]]
    for before, after in pairwise(grey):
        v, u = optical_flow_ilk(after, before, radius=FLOW_RADIUS)
        at = [np.clip(np.rint(c + s), 0, n - 1).astype(int) for c, s, n in zip((y, x), (v, u), y.shape, strict=True)]
        later = data.given.get(len(frames), np.zeros_like(frames[0]))
        frames.append(np.where(later > 0, later, frames[-1][tuple(at)]))
    return Followed(frames)


METHODS = {"model": follow_model, "rf": follow_forest, "flow": follow_flow}


# -- scores ---------------------------------------------------------------------------------------------------------
def read_lineage(folder: Path) -> dict[int, tuple[int, ...]] | None:
    """Child -> parents from ``man_track.txt``, None where there is none."""
    file = folder / "man_track.txt"
    if not file.exists():
        return None
    rows = np.loadtxt(file, dtype=int, ndmin=2)
    return {int(child): (int(parent),) for child, _, _, parent in rows if parent > 0}


def seg_tra(truth: Followed, found: Followed) -> tuple[float, float]:
    """SEG and TRA of the Cell Tracking Challenge, through traccuracy; the first frame does not count."""
    from traccuracy import run_metrics
    from traccuracy.matchers import CTCMatcher
    from traccuracy.metrics import CTCMetrics

    sides = [Followed(side.frames[1:], side.parents) for side in (truth, found)]
    # traccuracy counts frames from the first with an object
    filled = np.flatnonzero([f.any() for f in sides[0].frames])
    if not len(filled):
        return float("nan"), float("nan")
    graphs = [tracking_graph(Followed(s.frames[filled[0] : filled[-1] + 1], s.parents)) for s in sides]
    with redirect_stderr(StringIO()):  # its progress bars would run through the table
        results, matched = run_metrics(*graphs, CTCMatcher(), [CTCMetrics()])
    return seg(matched), float(results[0]["results"]["TRA"])


def tracking_graph(followed: Followed) -> Any:
    """A traccuracy graph of labels and parents."""
    import networkx as nx
    from traccuracy import TrackingGraph

    graph, tracks = nx.DiGraph(), Tracks.measure(followed.frames)
    for row in range(len(tracks)):
        i, t, (_, y, x) = int(tracks.track[row]), int(tracks.frame[row]), tracks.centroid[row]
        graph.add_node(f"{i}_{t}", t=t, segmentation_id=i, y=float(y), x=float(x))
        if row and tracks.track[row - 1] == i:
            graph.add_edge(f"{i}_{tracks.frame[row - 1]}", f"{i}_{t}")
    for child, parents in followed.parents.items():
        for parent in parents:
            if child in tracks and parent in tracks and tracks.end(parent) < tracks.begin(child):
                graph.add_edge(f"{parent}_{tracks.end(parent)}", f"{child}_{tracks.begin(child)}")
    return TrackingGraph(graph, segmentation=np.stack(followed.frames).astype(np.int64))


def seg(matched: Any) -> float:
    """Mean Jaccard index of true objects with what covers more than half of each, 0 where nothing does."""
    truth, found = matched.gt_graph, matched.pred_graph
    scores = dict.fromkeys(truth.nodes, 0.0)
    for true_node, found_node in matched.mapping:
        t = truth.nodes[true_node]["t"]
        ours = found.segmentation[t] == found.nodes[found_node]["segmentation_id"]
        theirs = truth.segmentation[t] == truth.nodes[true_node]["segmentation_id"]
        scores[true_node] = float((ours & theirs).sum() / (ours | theirs).sum())
    return float(np.mean(list(scores.values())))


def j_and_f(
    truth: Followed, found: Followed, annotated: Mapping[int, Sequence[int]] | None = None
) -> dict[int, tuple[float, float]]:
    """Object -> J and F as DAVIS does: region similarity and boundary accuracy, means over frames.

    Every object that is annotated counts, from the frame after that in which it first is; annotated frames do not.
    """
    from napari_incontext_seg.core.boundary import boundary_f, jaccard

    given = annotated or {0: [int(i) for i in np.unique(truth.frames[0]) if i]}
    scores: dict[int, tuple[float, float]] = {}
    for begin, ids in sorted(given.items()):
        pairs = [(found.frames[t], truth.frames[t]) for t in range(begin + 1, len(truth.frames)) if t not in given]
        for i in ids:
            each = [(jaccard(ours == i, true == i), boundary_f(ours == i, true == i)) for ours, true in pairs]
            scores.setdefault(i, (float(np.mean([j for j, _ in each])), float(np.mean([f for _, f in each]))))
    return scores
