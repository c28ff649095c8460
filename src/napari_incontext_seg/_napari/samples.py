"""Sample data for napari's File > Open Sample."""

from __future__ import annotations

from typing import Any

from ..core.stack import Stack
from ..io.samples import sample

LayerData = tuple[Any, dict[str, Any], str]


def ovule() -> list[LayerData]:
    """Return a light-sheet stack and its annotated cell walls."""
    return sample_layers("ovule")


def nuclei() -> list[LayerData]:
    """Return a series of fluorescence images and their annotated nuclei."""
    return sample_layers("nuclei")


def sample_layers(name: str) -> list[LayerData]:
    """Return a bundled sample as napari layer data: an image and a labels layer."""
    data = sample(name)
    return [layer_data(data.image, f"{name} image", "image"), layer_data(data.labels, f"{name} labels", "labels")]


def layer_data(stack: Stack, name: str, layer_type: str) -> LayerData:
    """Return a stack as napari layer data, its scale, position, units and axis names kept."""
    where = {
        "name": name,
        "scale": stack.scale,
        "translate": stack.translate,
        "units": tuple(unit or "pixel" for unit in stack.units),
        "axis_labels": tuple(stack.axes),
    }
    return stack.data, where, layer_type
