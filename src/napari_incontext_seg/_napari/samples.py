"""Sample data for napari's File > Open Sample: ready to be propagated, one slice annotated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..io.samples import sample
from .layer_data import LayerData, layer_data


def ovule() -> list[LayerData]:
    """Return a light-sheet stack whose cell walls are annotated in one slice."""
    return sample_layers("ovule")


def nuclei() -> list[LayerData]:
    """Return a series of fluorescence images, of which one has its nuclei annotated."""
    return sample_layers("nuclei")


def sample_layers(name: str) -> list[LayerData]:
    """Return a bundled sample as napari layer data.

    An image, a labels layer that holds the annotation of one slice, the one that napari opens at, and under it, hidden,
    the labels of all slices to compare with.
    """
    data = sample(name)
    truth = np.asarray(data.labels.data)
    annotated = np.zeros_like(truth)
    shown = (len(truth) - 1) // 2
    annotated[shown] = truth[shown]
    return [
        layer_data(data.image, name, "image", metadata={"licence": data.licence, "source": data.source}),
        layer_data(data.labels, f"{name} truth", "labels", visible=False),
        layer_data(replace(data.labels, data=annotated), f"{name} labels", "labels"),
    ]
