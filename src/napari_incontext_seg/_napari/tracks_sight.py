"""Where one is among tracks: the frame on display, going to an object, the track below the pointer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..session.tracks import TrackEditor
from .layers import ImageView, _unit_factors

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image, Labels
    from napari.layers import Tracks as TracksLayer
    from napari.viewer import Viewer


@dataclass
class Outcome:
    """Layers that the Tracks dock made, and the editor of what they hold.

    Parameters
    ----------
    labels, tracks
        The layers; there is no Tracks layer where there are no tracks.
    editor
        Of the tracks.
    view
        The labels as a stack.
    source, image
        The layers that they were made of.
    name
        Of the Tracks layer.
    corrected
        Whether corrections went into them.
    """

    labels: Labels
    tracks: TracksLayer | None
    editor: TrackEditor
    view: ImageView
    source: Labels | None
    image: Image | None
    name: str
    corrected: bool = False

    def frame(self, dims: Dims) -> int | None:
        """The time point on display; None beyond the labels."""
        if dims.ndim < self.labels.ndim:  # the labels are being removed
            return None
        position = self.view.position(dims)
        return None if position is None else int(self.view.stack.unravel(position)[0])

    def nearest_frame(self, track: int, frame: int | None) -> int:
        """The frame of a track that is nearest to one."""
        frames = self.editor.tracks.frame[self.editor.tracks.rows(track)]
        return int(frames[np.abs(frames - (frame or 0)).argmin()])

    def go(self, viewer: Viewer, track: int, frame: int) -> None:
        """Show a track in a frame, in the middle of the canvas."""
        tracks, grid, index = self.editor.tracks, self.view.stack.grid, [frame]
        row = tracks.row(track, frame)
        spot = tracks.centroid[row if row is not None else tracks.rows(track).start]
        if len(grid) == 2:
            index.append(int(np.clip(round(float(spot[0])), 0, grid[1] - 1)))
        self.view.go_to(viewer.dims, int(np.ravel_multi_index(index, grid)))
        place = [float(frame), *spot[3 - (self.labels.ndim - 1) :]]
        world = np.asarray(self.labels.data_to_world(place)) * _unit_factors(self.labels, viewer.dims)
        first = viewer.dims.ndim - self.labels.ndim
        shown = [float(world[axis - first]) if axis >= first else 0.0 for axis in viewer.dims.displayed]
        scene = viewer.scene if hasattr(viewer, "scene") else viewer  # napari before 0.9 has none
        scene.camera.center = tuple([0.0] * (3 - len(shown)) + shown)

    def track_below(self, viewer: Viewer, event: Any) -> int | None:
        """The track below the pointer of a mouse event; None where the labels are hidden or a brush is out."""
        active = viewer.layers.selection.active
        if self.labels not in viewer.layers or not self.labels.visible:
            return None
        if str(getattr(active, "mode", "pan_zoom")) not in ("pan_zoom", "pick"):
            return None
        value = self.labels.get_value(
            event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
        )
        return int(value) if value is not None and int(value) in self.editor.tracks else None
