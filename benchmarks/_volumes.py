"""Objects of stacks, scored in 3-D: ours, linked through z, and a forest with a watershed of the whole volume."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from _methods import FOREST_PIXELS, _forest_features
from _sets import AnnotatedSet
from _tracking import split_by_distance
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from napari_incontext_seg.core.metrics import object_overlaps, precision_of_overlaps
from napari_incontext_seg.core.splitting import Splitting
from napari_incontext_seg.core.types import Example, Predictor
from napari_incontext_seg.infer.track import track

Volume = NDArray[Any]
METHODS = ("model", "rf")


def objects_of(folder: Path, data: AnnotatedSet) -> list[NDArray[Any]] | None:
    """Ids (Y, X) of 3-D objects plane by plane: of a file of their own, else the labels; None if there are none."""
    if data.kind != "stack":
        return None
    if (folder / "instances.tif").exists():
        return list(tifffile.imread(folder / "instances.tif"))
    return data.labels if data.label_kind == "instance" else None


def model_objects(data: AnnotatedSet, first: NDArray[Any], predictor: Predictor) -> Volume:
    """(Z, Y, X): painted as in the first plane, and linked through z."""
    found = track(data.stack(), {0: first}, predictor)
    return np.stack([found.labels(z) for z in range(len(found))])


def forest_objects(data: AnnotatedSet, first: NDArray[Any]) -> Volume:
    """(Z, Y, X): a random forest on pixels, and a 3-D watershed of the distance to what is no object.

    Where the objects of the example touch as in a tissue, the forest is taught their borders as ours is.
    """
    splitting = Splitting.of([Example(data.plane(0), first.astype(np.uint32))])
    classes = splitting.classes(first.astype(np.uint32))
    forest = RandomForestClassifier(100, min_samples_leaf=4, max_features="sqrt", n_jobs=2, random_state=0)
    chosen = np.random.default_rng(0).permutation(classes.size)[:FOREST_PIXELS]
    forest.fit(_forest_features(data.images[0])[chosen], classes.ravel()[chosen])
    maps = [forest.predict(_forest_features(image)).reshape(classes.shape) for image in data.images]
    return split_by_distance(np.stack(maps) == 1, splitting.radius, splitting.least)


def measure_volume(folder: Path, methods: list[str], predictor: Predictor) -> list[dict[str, Any]]:
    """A row for each method: TP / (TP + FP + FN) of 3-D objects at IoU 0.5 and 0.75, without the example's plane."""
    try:
        data = AnnotatedSet.read(folder)
        truth = objects_of(folder, data)
    except Exception:  # `quality.measure_all` has said so
        return []
    if truth is None:
        return []
    rows = []
    for method in [m for m in METHODS if m in methods]:
        row: dict[str, Any] = {"dataset": data.name, "method": method, "ap50": 0.0, "ap75": 0.0}
        try:
            first = truth[0]
            found = forest_objects(data, first) if method == "rf" else model_objects(data, first, predictor)
            shared = object_overlaps(found[1:], np.stack(truth[1:]))
            row |= {f"ap{round(100 * t)}": round(precision_of_overlaps(shared, t), 4) for t in (0.5, 0.75)}
            row |= {"found": shared.shape[0] - 1, "true": shared.shape[1] - 1}
        except Exception as error:  # whatever it is, the other rows are still worth knowing
            traceback.print_exception(error)
            row["error"] = f"{type(error).__name__}: {error}"
        rows.append(row)
    return rows
