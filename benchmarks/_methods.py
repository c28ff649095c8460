"""What is compared: predictors, a random forest on pixels, and a copy of the example's labels."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from _sets import AnnotatedSet
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features
from skimage.transform import resize
from sklearn.ensemble import RandomForestClassifier

from napari_incontext_seg.core.types import Context, Example, Plane, Predictor, Segmentation, Segmenter
from napari_incontext_seg.infer.propagate import propagate, segment_images
from napari_incontext_seg.infer.tuning import apply_key, tune

FOREST_PIXELS = 50_000
TUNING_SECONDS = 60.0


@dataclass(eq=False)
class Outcome:
    """Class maps (Y, X) by frame; segmentations of a method that knows confidence; seconds in all."""

    predicted: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    segmentations: dict[int, Segmentation] = field(default_factory=dict)
    planes: int = 0
    seconds: float = 0.0
    bind_seconds: float = 0.0


def run_copy(data: AnnotatedSet) -> Outcome:
    """The example's labels everywhere, resized to nearest where sizes differ."""
    example, outcome = data.truth[0], Outcome()
    for frame in data.scored:
        copied = resize(example, data.truth[frame].shape, order=0, preserve_range=True, anti_aliasing=False)
        outcome.predicted[frame] = copied.astype(np.int64)
    return outcome


def run_forest(data: AnnotatedSet) -> Outcome:
    """The usual pixel classifier: scikit-image's features, 100 trees on pixels of the example."""
    outcome, start = Outcome(planes=len(data.scored)), time.perf_counter()
    forest = RandomForestClassifier(100, min_samples_leaf=4, max_features="sqrt", n_jobs=2, random_state=0)
    features, truth = _forest_features(data.images[0]), data.truth[0].ravel()
    chosen = np.random.default_rng(0).permutation(truth.size)[:FOREST_PIXELS]
    forest.fit(features[chosen], truth[chosen])
    outcome.bind_seconds = time.perf_counter() - start
    for frame in data.scored:
        predicted = forest.predict(_forest_features(data.images[frame]))
        outcome.predicted[frame] = predicted.reshape(data.truth[frame].shape)
    outcome.seconds = time.perf_counter() - start - outcome.bind_seconds
    return outcome


def _forest_features(image: NDArray[Any]) -> NDArray[np.float32]:
    """(pixels, features) of an image, its percentiles 0.5 and 99.5 brought to 0 and 1."""
    image = image.astype(np.float32)
    low, high = np.percentile(image, (0.5, 99.5))
    features: NDArray[np.float32] = multiscale_basic_features(
        (image - low) / max(high - low, 1e-6), sigma_min=0.7, sigma_max=16, channel_axis=-1 if image.ndim == 3 else None
    )
    return features.reshape(-1, features.shape[-1])


def run_predictor(data: AnnotatedSet, predictor: Predictor) -> Outcome:
    """Stacks and time-lapses through propagation with its defaults, collections image by image."""
    timed = _Timed(predictor)
    if data.kind == "collection":
        images, kind = data.collection(), data.predicted_kind
        context = Context((Example(images[0].normalized().plane(0), data.labels[0]),), kind)
        painted = segment_images([images[frame] for frame in data.scored], context, timed)
        found = {frame: segmentation for frame, (_, segmentation) in zip(data.scored, painted, strict=True)}
    else:
        steps = propagate(data.stack(), {0: data.labels[0]}, timed, kind=data.predicted_kind)
        found = {s.position: s.segmentation for s in steps if s.position in data.scored}
    timed.outcome.segmentations = found
    timed.outcome.predicted = {frame: data.as_classes(s.labels) for frame, s in found.items()}
    return timed.outcome


class TunedPredictor:
    """Binding tunes ``predictor`` on the examples for ``steps``, or for `TUNING_SECONDS` if None; what came of it is
    said on standard error."""

    def __init__(self, predictor: Predictor, steps: int | None = None) -> None:
        self.name, self.digest, self.predictor, self.steps = predictor.name, predictor.digest, predictor, steps

    def bind(self, context: Context) -> Segmenter:
        seconds = TUNING_SECONDS if self.steps is None else None
        key = tune(self.predictor, context, seconds=seconds, steps=self.steps, say=partial(print, file=sys.stderr))
        return apply_key(self.predictor, key).bind(context)


class _Timed:
    """A predictor that also writes down what binding and painting took."""

    def __init__(self, predictor: Predictor) -> None:
        self.name, self.digest, self.predictor, self.outcome = predictor.name, predictor.digest, predictor, Outcome()

    def bind(self, context: Context) -> Segmenter:
        start = time.perf_counter()
        segmenter = self.predictor.bind(context)
        self.outcome.bind_seconds += time.perf_counter() - start

        def segment(plane: Plane, /) -> Segmentation:
            start = time.perf_counter()
            segmentation = segmenter(plane)
            self.outcome.seconds += time.perf_counter() - start
            self.outcome.planes += 1
            return segmentation

        return segment
