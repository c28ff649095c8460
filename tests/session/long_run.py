"""What `test_resume` runs in other processes, and kills."""

import os
import time
from pathlib import Path

import numpy as np

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Segmentation
from napari_incontext_seg.infer.propagate import propagate
from napari_incontext_seg.io import labels as writing
from napari_incontext_seg.session.job import run_to_file

SLICES = 16


class Counting:
    """Paints ids that grow from slice to slice, by what it is shown: what comes out depends on the order."""

    name, digest = "counting", "1"

    def bind(self, context):
        shown = sum(int(example.labels.max()) for example in context.examples)

        def segment(plane):
            time.sleep(0.01)
            bright = plane[..., 0] > 0.5
            return Segmentation(np.where(bright, np.uint32(shown % 1000 + 1), np.uint32(0)), plane[..., 0])

        return segment


def long_run(folder: Path, out: str, memory: int, kind: str, die: bool = False) -> None:
    """Paint a stack; to ``die``: after the first of several files is at its place."""
    replace_by = writing.replace_by

    def replace_once(made, target):
        replace_by(made, target)
        os._exit(9)

    if die:
        writing.replace_by = replace_once
    image = np.random.default_rng(0).integers(0, 256, (SLICES, 24, 20), dtype=np.uint8)
    labels = (image[5] > 128).astype(np.uint8) * 3
    run = propagate(Stack(image, "zyx"), {5: labels}, Counting(), memory=memory, kind=kind)
    run_to_file(run, folder / out, resume=True, picture=folder / f"{out}.png")
