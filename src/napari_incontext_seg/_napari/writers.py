"""File > Save Selected Layers: a labels layer as OME-TIFF or OME-Zarr, with its spacing, position, units and axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.stack import Stack
from ..core.units import unit_name
from ..errors import FileError


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a labels layer, plane by plane, and return the files made.

    A file is replaced, for napari's dialog has asked; a folder, which it cannot ask about, never is.

    Raises
    ------
    InContextError
        The labels cannot be written there: see `io.labels.LabelWriter`.
    """
    from ..io.labels import LabelWriter

    target = Path(path)
    if target.is_dir():
        raise FileError(f"{target} exists, and a folder is never replaced from napari: choose another name.")
    labels = labels_stack(data, attributes)
    record = {"source": "a labels layer of napari", "layer": labels.name}
    with LabelWriter(target, labels, dtype=np.dtype(labels.data.dtype), overwrite=True, provenance=record) as writer:
        for position in range(len(labels)):
            writer.write(position, labels.read(position)[..., 0])
        return [str(file) for file in writer.finish()]


def labels_stack(data: Any, attributes: dict[str, Any]) -> Stack:
    """Return what napari hands a writer of a labels layer as a stack; of several resolutions the full one."""
    from napari.layers import Labels

    from .layers import guess_letters

    layer = Labels(data, **attributes)
    return Stack(
        layer.data[0] if layer.multiscale else layer.data,
        guess_letters(layer),
        tuple(float(s) for s in layer.scale),
        tuple(unit_name(unit) for unit in layer.units or ()),
        tuple(float(t) for t in layer.translate),
        name=layer.name,
    )
