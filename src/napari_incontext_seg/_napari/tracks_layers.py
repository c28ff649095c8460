"""Tracks as napari layers: labels whose ids are tracks, and a Tracks layer beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.stack import Stack
from ..core.tracks import Tracks
from ..core.units import unit_name
from ..errors import InputError
from .layers import _units, guess_letters, native_view

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer
    from napari.layers import Tracks as TracksLayer
    from napari.viewer import Viewer

OURS = "incontext"  # in a layer's metadata: made by this plugin, no layer of a person
KIND = "tracks"
LARGEST_ID = 10**6  # napari keeps a table as long as the largest id of a Tracks layer
_TIME = "ti"


def time_letters(layer: Labels) -> str:
    """What the axes of labels are taken for: the first is time, unless its name says otherwise."""
    letters = guess_letters(layer)
    known = any(a in _TIME for a in letters)
    return letters if known or layer.ndim < 3 else "t" + (letters[1:] if "t" not in letters[1:] else "")


def labels_stack(layer: Labels, axes: str) -> Stack:
    """A labels layer as a stack, time first.

    Raises
    ------
    InputError
        Axes that do not fit, or of which the first is not time.
    """
    if layer.ndim not in (3, 4):
        raise InputError(
            f"tracks are found in labels of a time-lapse (t, y, x) or (t, z, y, x); {layer.name} has {layer.ndim} axes."
        )
    if len(axes) != layer.ndim or axes[0] not in _TIME or axes[1:] != "zyx"[4 - layer.ndim :]:
        wanted = "tyx" if layer.ndim == 3 else "tzyx"
        raise InputError(f"the axes of {layer.name} must be {wanted}, time first; got {axes!r}.")
    if layer.multiscale:
        raise InputError(f"{layer.name} has several resolutions: give a layer of one.")
    units = tuple(unit_name(u) for u in _units(layer, layer.ndim))
    scale, translate = (tuple(float(v) for v in values) for values in (layer.scale, layer.translate))
    return Stack(layer.data, axes, scale, units, translate, name=layer.name)


def image_axes(layer: Image, labels: Stack) -> str | None:
    """What the axes of an image are, as large as the labels but for channels; None where it is not."""
    shape, wanted = tuple(layer.data.shape if not layer.multiscale else layer.data[0].shape), tuple(labels.data.shape)
    shape = shape[:-1] if layer.rgb else shape
    if shape == wanted:
        return labels.axes
    for at in (1, 0, *range(2, len(shape))):
        if len(shape) == len(wanted) + 1 and shape[:at] + shape[at + 1 :] == wanted and not layer.rgb:
            return labels.axes[:at] + "c" + labels.axes[at:]
    return None


def image_stack(layer: Image, labels: Stack) -> Stack:
    """An image layer as a stack that fits the labels.

    Raises
    ------
    InputError
        It is not as large.
    """
    axes = image_axes(layer, labels)
    if axes is None:
        raise InputError(f"the image {layer.name} is not as large as {labels.name}: choose another, or none.")
    return native_view(layer, axes).stack


class LayerFrames:
    """The labels of each time point of a layer, as a `session.tracks.Frames`; used on the main thread only.

    Parameters
    ----------
    layer
        Labels, time first.
    shown
        Tells which time point is displayed.
    """

    def __init__(self, layer: Labels, shown: Callable[[], int | None]) -> None:
        self._layer, self._shown = layer, shown

    def read(self, frame: int) -> NDArray[Any]:
        """Read a frame."""
        return np.asarray(self._layer.data[frame])

    def write(self, frame: int, labels: NDArray[Any]) -> None:
        """Write a frame; it is drawn anew if it is displayed."""
        data: Any = self._layer.data
        data[frame] = labels.astype(data.dtype, copy=False)
        if self._shown() == frame:
            self._layer.refresh(extent=False)


class FrameImages:
    """The image of each time point."""

    def __init__(self, stack: Stack, depth: int | None) -> None:
        self._stack, self._depth = stack, depth

    def __call__(self, frame: int) -> NDArray[Any]:
        """(Y, X) or (Z, Y, X) raw values of the channels that are looked at, several on a last axis."""
        used, count = self._stack.used_channels, self._depth or 1
        channels: Any = used[0] if len(used) == 1 else list(used)  # of one channel no copy is made
        at = self._stack.plane_axes.index("z") if self._depth is not None else -1
        planes = []
        for z in range(count):
            index = tuple(z if k == at else frame for k in range(len(self._stack.plane_axes)))
            planes.append(self._stack.read(int(np.ravel_multi_index(index, self._stack.grid)))[..., channels])
        return planes[0] if self._depth is None else np.stack(planes)


def place_of(layer: Layer) -> dict[str, Any]:
    """Where a layer lies, as arguments for another that lies there too."""
    return {
        "scale": layer.scale,
        "translate": layer.translate,
        "rotate": layer.rotate,
        "affine": layer.affine.affine_matrix,
        "units": tuple(_units(layer, layer.ndim)),
        "axis_labels": tuple(layer.axis_labels),
    }


def show_labels(viewer: Viewer, data: Any, source: Labels, name: str, old: Labels | None) -> Labels:
    """Show labels whose ids are tracks where ``source`` lies: in the layer ``old``, if it is still there."""
    if old is not None and old in viewer.layers and tuple(old.data.shape) == tuple(data.shape):
        old.data = data
        return old
    if old is not None and old in viewer.layers:
        viewer.layers.remove(old)
    made: Labels = viewer.add_labels(
        data, name=name, opacity=source.opacity, metadata={OURS: KIND}, **place_of(source)
    )  # fmt: skip
    return made


def show_tracks(
    viewer: Viewer, tracks: Tracks, labels: Labels, name: str, old: TracksLayer | None
) -> TracksLayer | None:
    """Show tracks with their lineage where the labels lie: in the layer ``old``, if it is still there; None for none.

    Ids that are too large for napari are numbered anew; the feature ``track`` holds them as they are.
    """
    there = old if old is not None and old in viewer.layers else None
    if not len(tracks):  # napari has no Tracks layer without tracks
        if there is not None:
            viewer.layers.remove(there)
        return None
    rows, graph = tracks.napari_rows(), tracks.napari_graph()
    if tracks.track.max() > LARGEST_ID:
        number = {track: k for k, track in enumerate(tracks.ids, start=1)}
        rows[:, 0] = [number[i] for i in tracks.track.tolist()]
        graph = {number[child]: [number[p] for p in parents] for child, parents in graph.items()}
    features = {"track": tracks.track, "confidence": np.nan_to_num(tracks.confidence, nan=1.0)}
    if there is not None:
        color = there.color_by
        there.data, there.features, there.graph = rows, features, graph  # which resets the colours
        if color in there.features or color == "track_id":
            there.color_by = color
        return there
    made: TracksLayer = viewer.add_tracks(
        rows, graph=graph, features=features, name=name, metadata={OURS: KIND}, tail_length=8, blending="translucent",
        **place_of(labels),
    )  # fmt: skip
    return made
