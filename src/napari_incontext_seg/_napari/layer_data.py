"""Stacks as layer data of napari: scale, position, units and names of axes are kept."""

from __future__ import annotations

from typing import Any, TypeAlias

from ..core.stack import Stack

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]


def layer_data(stack: Stack, name: str, layer_type: str, **attributes: Any) -> LayerData:
    """Return a stack as napari layer data, with more attributes of the layer where given."""
    where = {
        "name": name,
        "scale": stack.scale,
        "translate": stack.translate,
        "units": tuple(unit or "pixel" for unit in stack.units),
        "axis_labels": tuple(stack.axes),
    }
    return stack.data, {**where, **attributes}, layer_type
