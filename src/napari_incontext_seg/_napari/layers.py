"""napari layers as the package's nouns: an image layer is a `Stack`, a labels layer takes its planes.

Positions are plane numbers of the stack. They are found in data coordinates, so scale, translation and rotation of a
layer do not matter; the plane is spanned by whichever two axes the viewer shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.stack import Stack
from ..core.units import unit_name
from ..errors import InputError
from .file_axes import letters_of_file
from .strokes import painted_indices

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image, Labels, Layer

_NAMED = {
    "time": "t", "frame": "t", "frames": "t", "depth": "z", "plane": "z", "slice": "z", "channel": "c", "channels": "c",
    "image": "i", "images": "i", "position": "p", "pos": "p", "row": "y", "column": "x",
}  # fmt: skip
_BY_NDIM = {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx", 6: "ptczyx"}
LARGE = 2**33  # bytes; larger labels are made on disk


@dataclass(frozen=True, eq=False)
class ImageView:
    """An image layer, seen along the two axes that a viewer shows.

    Parameters
    ----------
    layer
        An image layer.
    axes
        A letter for each axis of the layer (``y`` and ``x`` are those displayed), and ``s`` for colours.
    stack
        The layer's data at full resolution.
    """

    layer: Image
    axes: str
    stack: Stack

    @property
    def data(self) -> Any:
        """What the layer holds now, at full resolution."""
        return _full(self.layer)

    def position(self, dims: Dims) -> int | None:
        """The plane that is displayed; None if the sliders stand outside of the image."""
        point = np.rint(_data_point(self.layer, dims)).astype(int)
        at = tuple(int(point[self.axes.index(a)]) for a in self.stack.plane_axes)
        if any(not 0 <= i < n for i, n in zip(at, self.stack.grid, strict=True)):
            return None
        return int(np.ravel_multi_index(at, self.stack.grid)) if at else 0

    def go_to(self, dims: Dims, position: int) -> None:
        """Move the sliders to a plane."""
        point = np.asarray(_data_point(self.layer, dims), float)
        where = dict(zip(self.stack.plane_axes, self.stack.unravel(position), strict=True))
        for letter, index in where.items():
            point[self.axes.index(letter)] = index
        world = np.asarray(self.layer.data_to_world(point)) * _unit_factors(self.layer, dims)
        first = dims.ndim - self.layer.ndim
        steps = [(first + self.axes.index(a), float(world[self.axes.index(a)])) for a in where]
        if steps:
            dims.set_point([axis for axis, _ in steps], [value for _, value in steps])

    def shows(self, dims: Dims) -> bool:
        """Whether the viewer still shows the two axes that this view was made for."""
        first = dims.ndim - self.layer.ndim
        return first >= 0 and tuple(dims.order[-2:]) == (first + self.axes.index("y"), first + self.axes.index("x"))

    def title(self, position: int) -> str:
        """A plane's name for people: ``z 12``, or ``t 3, z 12``."""
        index = self.stack.unravel(position)
        return ", ".join(f"{a} {i}" for a, i in zip(self.stack.plane_axes, index, strict=True)) or "image"


def view_image(layer: Image, dims: Dims, axes: str | None = None, channels: tuple[int, ...] | None = None) -> ImageView:
    """See an image layer along the axes that a viewer displays.

    Parameters
    ----------
    layer
        Any image layer; of several resolutions the full one is taken.
    dims
        The viewer's.
    axes
        What the layer's axes are, one letter each without colours (``tczyx``); guessed from its axis labels, else from
        its file, else from their number.
    channels
        Those that are looked at, up to three; default: all if at most three, else the first three.

    Raises
    ------
    InputError
        Axes that do not fit, or a channel axis on display.
    """
    letters = axes if axes is not None else guess_letters(layer)
    if len(letters) != layer.ndim or len(set(letters)) != len(letters) or "s" in letters or not letters.isalpha():
        raise InputError(
            f"axes must name the {layer.ndim} axes of {layer.name} by one letter each, such as "
            f"{_BY_NDIM.get(layer.ndim, 'tczyx')}; got {letters!r}."
        )
    shown = displayed_axes(layer, dims)
    _check_slices(layer, shown)
    return _view(layer, _facing(letters.lower(), shown), channels)


def _check_slices(layer: Image, shown: tuple[int, int]) -> None:
    """Raise InputError if slices along the axes on display lie askew: the viewer shows and paints them elsewhere."""
    origin = np.asarray(layer.data_to_world(np.zeros(layer.ndim)))
    linear = np.abs([np.asarray(layer.data_to_world(row)) - origin for row in np.eye(layer.ndim)])
    others = [k for k in range(layer.ndim) if k not in shown]
    mixed = np.concatenate([linear[np.ix_(shown, others)].ravel(), linear[np.ix_(others, shown)].ravel()])
    if (mixed > 1e-6 * linear.max()).any():
        raise InputError(
            f"{layer.name} is rotated or sheared across its slices, which napari cannot paint in: resample it, or take "
            "that away (in napari's console: layer.rotate, layer.shear, layer.affine), and choose it again."
        )


def _view(layer: Image, letters: str, channels: tuple[int, ...] | None = None) -> ImageView:
    count = layer.ndim
    stack = Stack(
        _full(layer),
        letters + ("s" if layer.rgb else ""),
        tuple(float(s) for s in layer.scale) + ((1.0,) if layer.rgb else ()),
        tuple(unit_name(u) for u in _units(layer, count)) + (("",) if layer.rgb else ()),
        tuple(float(t) for t in layer.translate) + ((0.0,) if layer.rgb else ()),
        channels=channels,
        name=layer.name,
    )
    return ImageView(layer, letters, stack)


def _full(layer: Layer) -> Any:
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def native_view(layer: Image, axes: str | None = None) -> ImageView:
    """An image layer with its axes as they are, however a viewer turns it: the order in which files keep it."""
    return _view(layer, axes or guess_letters(layer))


def guess_letters(layer: Layer) -> str:
    """A letter for each axis of a layer: its axis labels where they say something, else its file, else their number."""
    labels = [str(label).strip().lower() for label in layer.axis_labels]
    letters = [_NAMED.get(label, label) for label in labels]
    known = all(len(a) == 1 and a.isalpha() and a != "s" for a in letters) and len(set(letters)) == len(letters)
    if known and {"y", "x"} <= set(letters):
        return "".join(letters)
    if layer.ndim not in _BY_NDIM:
        raise InputError(f"{layer.name} has {layer.ndim} axes; an image may have two to six.")
    return letters_of_file(layer.source.path, _full(layer).shape, layer.ndim) or _BY_NDIM[layer.ndim]


def displayed_axes(layer: Layer, dims: Dims) -> tuple[int, int]:
    """The two axes of the layer that the viewer shows as rows and columns; in 3D, those it would show in 2D.

    Raises
    ------
    InputError
        The viewer shows an axis that the layer does not have.
    """
    first = dims.ndim - layer.ndim
    rows, columns = (int(axis) - first for axis in dims.order[-2:])
    if rows < 0 or columns < 0:
        raise InputError(f"{layer.name} has no such plane: turn the axes back (Ctrl+E), so that its own are shown.")
    return rows, columns


def _facing(letters: str, displayed: tuple[int, int]) -> str:
    """Name the displayed axes y and x; an axis that loses its name takes that of the one it changed places with."""
    renamed = list(letters)
    for wanted, axis in zip("yx", displayed, strict=True):
        if renamed[axis] == "c":
            raise InputError("channels are on display as if they were rows or columns: turn the axes back (Ctrl+E).")
        if wanted in renamed:
            renamed[renamed.index(wanted)] = renamed[axis]
        renamed[axis] = wanted
    return "".join(renamed)


# -- labels -----------------------------------------------------------------------------------------------------------
class LayerPlanes:
    """The planes of a labels layer, as a `core.labels.LabelPlanes`; used on the main thread only.

    Planes are written in place, so that napari's history of hand painting stays true, and drawn anew if they are shown.

    Parameters
    ----------
    layer
        Labels, as large as the image; its channel axis, if there is one, has length 1.
    view
        The image.
    shown
        Tells which plane is displayed.

    Raises
    ------
    InputError
        The layer does not fit the image, or cannot be written to.
    """

    def __init__(self, layer: Labels, view: ImageView, shown: Callable[[], int | None]) -> None:
        self.layer, self._stack, self._shown = layer, view.stack, shown
        self._axes = _label_axes(layer, view)
        rows, columns = self._axes.index("y"), self._axes.index("x")
        self._turned = rows > columns

    def __len__(self) -> int:
        return len(self._stack)

    def index(self, position: int) -> tuple[int | slice, ...]:
        """The plane's place in the layer's data."""
        where = dict(zip(self._stack.plane_axes, self._stack.unravel(position), strict=True))
        return tuple(slice(None) if a in "yx" else where.get(a, 0) for a in self._axes)

    def read(self, position: int) -> NDArray[Any]:
        """Read a plane (Y, X)."""
        plane = np.array(self.layer.data[self.index(position)])
        return plane.T if self._turned else plane

    def write(self, position: int, plane: NDArray[Any]) -> None:
        """Write a plane (Y, X)."""
        dtype = np.dtype(self.layer.data.dtype)
        if plane.size and int(plane.max()) > np.iinfo(dtype).max:
            raise InputError(
                f"label {int(plane.max())} is too large for the layer {self.layer.name}, whose numbers go up to "
                f"{np.iinfo(dtype).max}: make a new labels layer."
            )
        data: Any = self.layer.data
        data[self.index(position)] = (plane.T if self._turned else plane).astype(dtype)
        if self._shown() == position:
            self.layer.refresh(extent=False)

    def painted(self, value: Any) -> dict[int, NDArray[np.bool_]]:
        """What a paint event of the layer changed: plane number -> mask (Y, X)."""
        masks: dict[int, NDArray[np.bool_]] = {}
        for atom in value:
            for position, rows, columns in self._pixels(painted_indices(atom)):
                mask = masks.setdefault(position, np.zeros(self._stack.plane_shape, bool))
                mask[rows, columns] = True
        return masks

    def _pixels(self, indices: tuple[NDArray[np.intp], ...]) -> list[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """Pixels of the layer, gathered by plane: plane number, rows, columns."""
        by_axis = dict(zip(self._axes, indices, strict=True))
        rows, columns = by_axis["y"], by_axis["x"]
        if not self._stack.grid:
            return [(0, rows, columns)]
        where = tuple(by_axis.get(a, np.zeros_like(rows)) for a in self._stack.plane_axes)  # an axis may be left out
        numbers = np.ravel_multi_index(where, self._stack.grid)
        return [(int(p), rows[numbers == p], columns[numbers == p]) for p in np.unique(numbers)]


def _label_axes(layer: Labels, view: ImageView) -> str:
    """The letters of a labels layer's axes, those of the image from the back."""
    if layer.multiscale:
        raise InputError(f"{layer.name} has several resolutions and cannot be edited: make a new labels layer.")
    if not hasattr(layer.data, "__setitem__") or type(layer.data).__module__.startswith("dask"):
        raise InputError(f"{layer.name} cannot be written to (it is computed when shown): make a new labels layer.")
    expected = tuple(1 if a == "c" else view.stack.size(a) for a in view.axes)
    shape = tuple(int(n) for n in layer.data.shape)
    for dropped in (0, 1) if view.axes[0] == "c" or expected[0] == 1 else (0,):
        if shape == expected[dropped:] and {"y", "x"} <= set(view.axes[dropped:]):
            return view.axes[dropped:]
    raise InputError(
        f"the labels {layer.name} must be as large as the image {view.layer.name}, {expected}; got {shape}. "
        "Make a new labels layer for it."
    )


def fits(layer: Labels, view: ImageView) -> bool:
    """Whether a labels layer can hold the labels of an image."""
    try:
        _label_axes(layer, view)
    except InputError:
        return False
    return True


def lies_elsewhere(labels: Labels, view: ImageView) -> bool:
    """Whether a labels layer that is as large as an image is shown elsewhere, by half a pixel or more."""
    axes, count = _label_axes(labels, view), len(view.axes)
    last = [0 if a == "c" else view.stack.size(a) - 1 for a in view.axes]
    kept = [k for k in range(count) if view.axes[k] != "c" and view.axes[k] in axes]
    own = [k - count + len(axes) for k in kept]
    for corner in (np.zeros(count), np.array(last, float)):
        wanted = np.asarray(view.layer.data_to_world(corner))[kept]
        found = np.asarray(labels.data_to_world(corner[count - len(axes) :]))[own]
        if (np.abs(found - wanted) >= np.abs(np.asarray(view.layer.scale)[kept]) / 2).any():
            return True
    return False


def align(labels: Labels, view: ImageView) -> None:
    """Lay a labels layer where an image lies."""
    for name, value in _place(view, labels.ndim).items():
        setattr(labels, name, value)


def labels_for(view: ImageView) -> dict[str, Any]:
    """Arguments for ``viewer.add_labels``: empty labels that lie where the image does.

    A channel axis in front is left out; elsewhere it has one sample, so long that it reaches over all channels.
    """
    layer, axes = view.layer, view.axes
    kept = slice(1, None) if axes[0] == "c" else slice(None)
    shape = tuple(1 if a == "c" else view.stack.size(a) for a in axes)[kept]
    place = _place(view, len(shape))
    return {
        "data": _zeros(shape),
        "name": f"{layer.name} labels",
        "axis_labels": tuple(layer.axis_labels)[kept],
        **place,
    }


def _place(view: ImageView, ndim: int) -> dict[str, Any]:
    """Scale, position, rotation, shear and units of the last axes of an image, for a layer with labels of it."""
    layer, axes = view.layer, view.axes
    kept = slice(len(axes) - ndim, None)
    scale, translate = np.array(layer.scale, float), np.array(layer.translate, float)
    if "c" in axes:
        at, count = axes.index("c"), view.stack.size("c")
        translate[at] += scale[at] * (count - 1) / 2
        scale[at] *= count
    shear = np.asarray(layer.shear)
    if shear.ndim == 1:  # what stands above the diagonal
        above = np.eye(layer.ndim)
        above[np.triu_indices(layer.ndim, 1)] = shear
        shear = above
    return {
        "scale": scale[kept],
        "translate": translate[kept],
        "rotate": np.asarray(layer.rotate)[kept, kept],
        "shear": shear[kept, kept],
        "affine": np.asarray(layer.affine.affine_matrix)[kept, kept],
        "units": tuple(_units(layer, layer.ndim))[kept],
    }


def _zeros(shape: tuple[int, ...]) -> Any:
    """Empty labels: in memory, which is taken when it is written to; on disk, until napari is closed, if large."""
    if np.prod(shape, dtype=float) * 4 <= LARGE:
        return np.zeros(shape, np.uint32)
    import atexit
    import shutil
    import tempfile

    import zarr

    chunks = tuple(1 if k < len(shape) - 2 else min(n, 1024) for k, n in enumerate(shape))
    folder = tempfile.mkdtemp(prefix="incontext-labels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # not before: copies of the layer lie there, too
    return zarr.create_array(folder, name="labels", shape=shape, chunks=chunks, dtype=np.uint32)


# -- coordinates ------------------------------------------------------------------------------------------------------
def _data_point(layer: Layer, dims: Dims) -> NDArray[np.float64]:
    """Where the sliders stand, in the layer's data coordinates."""
    world = np.asarray(dims.point, float)[-layer.ndim :] / _unit_factors(layer, dims)
    return np.asarray(layer.world_to_data(world), float)


def _unit_factors(layer: Layer, dims: Dims) -> NDArray[np.float64]:
    """One of the layer's units in those of the viewer, along each axis; 1 where napari (before 0.9) has one for all."""
    units = getattr(dims, "units", None)
    if units is None or len(units) < layer.ndim:
        return np.ones(layer.ndim)
    factors = []
    for own, shown in zip(_units(layer, layer.ndim), units[-layer.ndim :], strict=True):
        compatible = own != shown and getattr(own, "is_compatible_with", lambda _: False)(shown)
        factors.append(float((1 * own).to(shown).magnitude) if compatible else 1.0)
    return np.array(factors)


def _units(layer: Layer, count: int) -> tuple[Any, ...]:
    """The units of a layer's axes."""
    return tuple(layer.units) if layer.units is not None else ("",) * count
