"""Sample data for napari's File > Open Sample."""

from __future__ import annotations

from typing import Any

from ..core.stack import Stack
from ..io.samples import sample

LayerData = tuple[Any, dict[str, Any], str]


def ovule() -> list[LayerData]:
    """Return the bundled light-sheet stack and its annotated cell walls as napari layer data."""
    data = sample("ovule")
    return [layer_data(data.image, "image"), layer_data(data.labels, "labels")]


def layer_data(stack: Stack, layer_type: str) -> LayerData:
    """Return a stack as napari layer data, its scale, position, units and axis names kept."""
    where = {
        "name": f"ovule {layer_type}",
        "scale": stack.scale,
        "translate": stack.translate,
        "units": tuple(unit or "pixel" for unit in stack.units),
        "axis_labels": tuple(stack.axes),
    }
    return stack.data, where, layer_type
