"""`PlaneOverlay`: a layer with one plane, laid over the slice on display; for previews and maps, never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .layers import ImageView

if TYPE_CHECKING:
    from napari.viewer import Viewer


class PlaneOverlay:
    """Shows a plane (Y, X) of floats as an image, or of integers as labels, where a slice of the image lies.

    Parameters
    ----------
    viewer
        Where the layer is added; a person may delete it at any time.
    name
        The layer's.
    style
        Further arguments of the layer.
    """

    def __init__(self, viewer: Viewer, name: str, **style: Any) -> None:
        self._viewer, self._name, self._style = viewer, name, style
        self.layer: Any = None

    @property
    def is_shown(self) -> bool:
        """Whether the layer is there."""
        return self.layer is not None and self.layer in self._viewer.layers

    def show(self, view: ImageView, position: int, plane: NDArray[Any]) -> None:
        """Show ``plane`` over the slice at ``position``, instead of what was shown."""
        letters = view.axes
        where = dict(zip(view.stack.plane_axes, view.stack.unravel(position), strict=True))
        turned = plane if letters.index("y") < letters.index("x") else plane.T
        data = np.ascontiguousarray(turned).reshape([view.stack.size(a) if a in "yx" else 1 for a in letters])
        start = [float(where.get(a, 0)) for a in letters]
        translate = np.asarray(view.layer.affine.inverse(view.layer.data_to_world(start)), float)
        if self.layer is not None and self.is_shown:
            self.layer.data, self.layer.translate = data, translate
            return
        place = {
            "name": self._name,
            "metadata": {"incontext": self._name},  # not to be taken for an image of a person
            "scale": view.layer.scale,
            "translate": translate,
            "rotate": view.layer.rotate,
            "shear": view.layer.shear,
            "affine": view.layer.affine,
            "units": view.layer.units,
            "axis_labels": view.layer.axis_labels,
        }
        selected = set(self._viewer.layers.selection)
        add = self._viewer.add_labels if data.dtype.kind in "ui" else self._viewer.add_image
        self.layer = add(data, **place, **self._style)
        self._viewer.layers.selection = selected  # keys and brushes stay with what was being worked on

    def hide(self) -> None:
        """Take the layer away."""
        if self.is_shown:
            self._viewer.layers.remove(self.layer)
        self.layer = None
