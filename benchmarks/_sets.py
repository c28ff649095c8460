"""Annotated sets on disk, and the protocol by which every quality figure is made (`quality.py` states it)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_incontext_seg.core.metrics import dice
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Kind, Plane

DESIGN = ("isbi2012_em_membrane", "ctc_gowt1_01", "dsb2018_fluo_256", "drive_vessels", "usiigaci_nih3t3_phase")
VIDEO = "davis_"  # how names of videos begin
AXES = {"stack": "z", "timelapse": "t"}


@dataclass(frozen=True, eq=False)
class AnnotatedSet:
    """A set as it lies on disk: a folder with ``meta.json`` and images and labels as TIFF.

    Parameters
    ----------
    images
        Raw planes (Y, X) or (Y, X, 3), of one size unless ``kind`` is ``"collection"``.
    labels
        (Y, X) ids of each image.
    annotated
        Frame -> objects annotated in it, of a video in which only some are; empty where frame 0 is annotated whole.
    """

    name: str
    kind: str
    label_kind: str
    images: list[NDArray[Any]]
    labels: list[NDArray[Any]]
    annotated: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> AnnotatedSet:
        meta = json.loads((folder / "meta.json").read_text())
        images, labels = (_planes(folder, stem) for stem in ("image", "labels"))
        annotated = {int(t): ids for t, ids in meta.get("annotated", {}).items()}
        return cls(folder.name, meta["kind"], meta["label_kind"], images, labels, annotated)

    @property
    def predicted_kind(self) -> Kind:
        return "semantic" if self.label_kind == "semantic" else "instance"

    @property
    def is_video(self) -> bool:
        """Whether this is a video of few objects with colours of their own."""
        return self.name.startswith(VIDEO) or bool(self.annotated)

    @property
    def given(self) -> dict[int, NDArray[Any]]:
        """Frame -> the labels (Y, X) that a method is shown to follow objects."""
        if not self.annotated:
            return {0: self.labels[0]}
        return {t: np.where(np.isin(self.labels[t], ids), self.labels[t], 0) for t, ids in self.annotated.items()}

    @cached_property
    def truth(self) -> list[NDArray[np.int64]]:
        """Class maps (Y, X): the ids themselves, or 1 where there is any object."""
        return [self.as_classes(labels) for labels in self.labels]

    def as_classes(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        return (labels if self.predicted_kind == "semantic" else labels > 0).astype(np.int64)

    @property
    def classes(self) -> list[int]:
        """The classes of the example, which is frame 0."""
        return [int(c) for c in np.unique(self.truth[0]) if c > 0]

    @property
    def scored(self) -> list[int]:
        """The frames that are scored: up to eight, spread evenly, never the example."""
        last = len(self.images) - 1
        return [int(f) for f in np.unique(np.round(np.linspace(1, last, min(8, last))))]

    def stack(self) -> Stack:
        """All images as one stack or time-lapse."""
        return Stack(np.stack(self.images), AXES[self.kind] + self._plane_axes, name=self.name)

    def collection(self) -> list[Stack]:
        """Every image on its own."""
        return [Stack(image, self._plane_axes, name=f"{self.name} {i}") for i, image in enumerate(self.images)]

    def plane(self, frame: int) -> Plane:
        """A frame (Y, X, C) as predictors see it."""
        if self.kind == "collection":
            return self.collection()[frame].normalized().plane(0)
        return self.stack().normalized().plane(frame)

    @property
    def _plane_axes(self) -> str:
        return "yxs" if self.images[0].ndim == 3 else "yx"

    def score(self, predicted: dict[int, NDArray[np.int64]]) -> tuple[float, list[float]]:
        """Dice of class maps by frame: mean over frames, then over classes; and of each frame."""
        each = np.array([[dice(predicted[f], self.truth[f], [c]) for c in self.classes] for f in self.scored])
        return float(each.mean(0).mean()), [float(d) for d in each.mean(1)]


def _planes(folder: Path, stem: str) -> list[NDArray[Any]]:
    whole = folder / f"{stem}.tif"
    if whole.exists():
        return list(tifffile.imread(whole))
    return [tifffile.imread(path) for path in sorted(folder.glob(f"{stem}_*.tif"))]
