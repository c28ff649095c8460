"""`TrackBench`: joins a viewer's layers to a `TrackEditor`, and runs what takes time in a thread.

The state of the work is the editor's. Here are the layers that it is about, which tracks are chosen, and the run that
is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer, Signal

from ..core.stack import Stack
from ..core.tracks import Tracks
from ..errors import InputError
from ..infer.identity import Confirmed
from ..session.track_table import doubtful_links
from ..session.tracks import TrackEditor
from . import tracks_run
from .job import Job
from .layers import ImageView
from .notices import tell, told
from .tracks_layers import (
    OURS,
    FrameImages,
    LayerFrames,
    image_axes,
    image_stack,
    labels_stack,
    show_labels,
    show_tracks,
    time_letters,
)
from .tracks_run import Found, TrackOptions
from .tracks_sight import Outcome
from .tracks_watch import TrackWatch

if TYPE_CHECKING:
    from napari.viewer import Viewer

DOUBTFUL = 0.9  # confidence of a link below which it is counted
FOLLOW = 150  # ms after the last edit, when the Tracks layer follows


class TrackBench(QObject):
    """The layers that are tracked, the outcome, and what is chosen in it.

    ``opened`` tells that there is another outcome, or none, ``changed`` that its tracks are other than before,
    ``chosen`` that other tracks are chosen, ``removed`` that a layer went away. What people do to the labels besides
    is told by ``watch``.
    """

    opened = Signal()
    changed = Signal()
    chosen = Signal()
    removed = Signal(str)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.job = Job(self)
        self.outcome: Outcome | None = None
        self.choice: tuple[int, ...] = ()
        self._looked: set[tuple[int, int]] = set()  # links that "next doubtful" has shown
        self.watch = TrackWatch(self)
        self._pending: tuple[Labels | None, Image | None] = (None, None)  # what the run is about
        self._kept = False  # whether it began from what was corrected
        self._held: list[Labels] = []  # what nobody may paint in while a run is under way
        self._follow = QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.setInterval(FOLLOW)
        self._follow.timeout.connect(self._show_tracks)
        self.watch.resized.connect(lambda: self._close("The data of the tracked labels, which have another size now,"))
        self.watch.selected.connect(lambda label: self.choose([label]))
        self.job.stepped.connect(self._on_step)
        self.job.ended.connect(lambda _: _let_paint(self._held))
        self.destroyed.connect(partial(_let_paint, self._held))
        viewer.layers.events.removed.connect(self._on_removed)

    # -- layers ---------------------------------------------------------------------------------------------------
    def sources(self) -> list[Labels]:
        """The labels layers that can be tracked; what this plugin made is not offered, and hidden ones come last."""
        found = [a for a in self.viewer.layers if isinstance(a, Labels) and OURS not in a.metadata and a.ndim in (3, 4)]
        return sorted(found, key=lambda layer: not layer.visible)

    def images(self, source: Labels | None, axes: str | None = None) -> list[Image]:
        """The image layers that are as large as labels."""
        with suppress(InputError):
            if source is not None:
                stack = labels_stack(source, axes or time_letters(source))
                layers = [a for a in self.viewer.layers if isinstance(a, Image) and OURS not in a.metadata]
                return [layer for layer in layers if image_axes(layer, stack) is not None]
        return []

    # -- runs -----------------------------------------------------------------------------------------------------
    def track(
        self, source: Labels | None, image: Image | None, axes: str, options: TrackOptions, *, keep: bool = True
    ) -> bool:
        """Start to link objects; False, and a notice, if something is in the way.

        Parameters
        ----------
        source, image
            The labels whose objects are linked, and their image.
        axes
            Of the labels.
        options
            How.
        keep
            Begin from the tracks as they were edited, with the links that were confirmed, where these labels have been
            tracked before; else from the source.
        """
        with told("starting to track"):
            self._free()
            if source is None:
                raise InputError("open the labels of a time-lapse first: one number an object in every frame.")
            stack, confirmed = labels_stack(source, axes), tuple[Confirmed, ...]()
            kept = False
            if keep and self.edited(source):
                assert self.outcome is not None
                if self.watch.stale:
                    raise InputError("the labels were replaced: take them in first.")
                self.watch.take_in(all_strokes=True)
                stack = labels_stack(self.outcome.labels, axes)
                confirmed, kept = self.outcome.editor.confirmed, True
            seen = None if image is None else image_stack(image, stack)
            self._start(partial(tracks_run.track, stack, seen, options, confirmed), "Tracking", source, image)
            self._kept = kept
            return True
        return False

    def edited(self, source: Labels | None) -> bool:
        """Whether the outcome is of these labels, and was corrected since."""
        out = self.outcome
        return out is not None and source is not None and out.source is source and self.corrected

    @property
    def corrected(self) -> bool:
        """Whether the outcome was edited or painted in, or a link was confirmed."""
        out = self.outcome
        return out is not None and (out.corrected or bool(out.editor.undo_title) or self.watch.touched)

    def open_file(self, path: Path, source: Labels | None, image: Image | None, axes: str) -> bool:
        """Start to read tracks of a file onto labels; False, and a notice, if something is in the way."""
        with told("opening tracks"):
            self._free()
            stack = labels_stack(source, axes) if source is not None else None
            images = None
            if stack is not None and image is not None:
                images = self._images(image, stack)
            self._start(partial(tracks_run.read, path, stack, images), f"Opening {path.name}", source, image)
            return True
        return False

    def export(self, path: Path) -> bool:
        """Start to write the tracks; False, and a notice, if something is in the way."""
        with told("saving the tracks"):
            out = self.ready()
            self.watch.take_in(all_strokes=True)
            stack = labels_stack(out.labels, out.view.axes)
            self._start(
                partial(tracks_run.write, path, stack, out.editor.tracks), f"Saving {path.name}", out.source, out.image
            )
            return True
        return False

    def measure(self) -> bool:
        """Start to take in labels that somebody replaced; False, and a notice, if something is in the way."""
        with told("measuring the labels"):
            out = self.outcome
            self._free()
            if out is not None:
                stack = labels_stack(out.labels, out.view.axes)
                images = self._images(out.image, stack) if out.image is not None else None
                known = out.editor.tracks, out.editor.confirmed
                self._start(partial(tracks_run.measure, stack, *known, images), "Measuring", out.source, out.image)
                self._kept = True
                return True
        return False

    def _start(self, prepare: Callable[..., Any], title: str, source: Labels | None, image: Image | None) -> None:
        self._pending, self._kept = (source, image), False
        self.job.start(prepare, title)
        if self.outcome is not None:  # the run has read them, or replaces them
            self._held.append(self.outcome.labels)
            self.outcome.labels.editable = False

    def _free(self) -> None:
        if self.job.running:
            raise InputError("a run is under way: stop it first, or wait for its end.")

    @staticmethod
    def _images(image: Image, stack: Stack) -> FrameImages:
        depth = int(stack.size("z")) if "z" in stack.axes else None
        return FrameImages(image_stack(image, stack), depth)

    def _on_step(self, step: Any) -> None:
        if isinstance(step, str):
            tell(step)
            return
        with told("showing the tracks"):
            self._show(step, *self._pending)
            tell(f"{step.words[:1].upper()}{step.words[1:]}.")

    # -- the outcome ----------------------------------------------------------------------------------------------
    def _show(self, found: Found, source: Labels | None, image: Image | None) -> None:
        """Show what was found, in the layers of the outcome before, if they are there."""
        old = self.outcome if self.outcome is not None and self.outcome.source is source else None
        if old is not None and (source is None or (self.corrected and not self._kept)):
            old = None  # what was corrected stays, in a layer of its own
        self._let_go()  # layers that were made of other labels stay as they are
        name = source.name if source is not None else "cells"
        like = source or (old.labels if old is not None else None)
        if like is None:
            like = Labels(np.zeros((1,) * np.ndim(found.labels), np.uint8), scale=found.tracks.scale)
        with self.watch.hushed():
            labels = show_labels(self.viewer, found.labels, like, f"{name} tracked", old.labels if old else None)
            layer = show_tracks(self.viewer, found.tracks, labels, f"{name} tracks", old.tracks if old else None)
        if source is not None:
            source.visible = False
        axes = "t" + "zyx"[4 - labels.ndim :]
        stack = labels_stack(labels, axes)
        fits = image is not None and image_axes(image, stack) is not None
        editor = TrackEditor(
            found.tracks, LayerFrames(labels, lambda: self.frame), on_change=self._on_change, confirmed=found.confirmed,
            image=self._images(image, stack) if image is not None and fits else None,
        )  # fmt: skip
        view = ImageView(labels, axes, stack)
        self.outcome = Outcome(labels, layer, editor, view, source, image, f"{name} tracks", self._kept)
        self.watch.begin(self.outcome, self.viewer.dims)
        self.viewer.layers.selection.active = labels
        self.opened.emit()
        self.chosen.emit()

    def _let_go(self) -> None:
        self.outcome, self.choice = None, ()
        self._looked.clear()
        self._follow.stop()
        self.watch.end()

    def _close(self, name: str) -> None:
        self._let_go()
        self.opened.emit()
        self.chosen.emit()
        self.removed.emit(name)

    def ready(self) -> Outcome:
        """The outcome, ready to be edited.

        Raises
        ------
        InputError
            There is none, it was replaced, or a run is under way.
        """
        self._free()
        if self.outcome is None:
            raise InputError("there are no tracks yet: press Track, or open some.")
        if self.watch.stale:
            raise InputError("the labels were replaced: take them in, or track again.")
        self.watch.take_in()
        return self.outcome

    @property
    def tracks(self) -> Tracks | None:
        """The tracks as they are now."""
        return self.outcome.editor.tracks if self.outcome is not None else None

    def _on_removed(self, event: Any) -> None:
        layer, out = event.value, self.outcome
        if self.watch.quiet:
            return
        if self.job.running and any(layer is one for one in self._pending):
            self.job.cancel()
            self.removed.emit(layer.name)
        if out is not None and layer is out.labels:
            if self.job.running:
                self.job.cancel()
            self._close(layer.name)

    # -- edits ----------------------------------------------------------------------------------------------------
    def edit(self, doing: str, change: Callable[[TrackEditor], Any], choose: Callable[[Any], Sequence[int]]) -> bool:
        """Change the tracks, and choose others; False, and a notice, if that cannot be.

        Parameters
        ----------
        doing
            What is being done, for errors.
        change
            Takes the editor.
        choose
            Takes what ``change`` returned, and gives the tracks that are chosen then.
        """
        with told(doing):
            out = self.ready()
            with self.watch.hushed():
                result = change(out.editor)
            self.choose(choose(result))
            return True
        return False

    def _on_change(self, _: list[int]) -> None:
        """The editor has other tracks: the table follows at once, the Tracks layer a moment later."""
        self._follow.start()
        there = self.tracks
        self.choice = tuple(i for i in self.choice if there is not None and i in there)
        self.changed.emit()

    def _show_tracks(self) -> None:
        """Show the tracks as they are now, unless somebody removed their layer."""
        out, layers = self.outcome, self.viewer.layers
        if out is None or (out.tracks is not None and out.tracks not in layers):
            return
        with told("showing the tracks"), self.watch.hushed():
            active = layers.selection.active
            out.tracks = show_tracks(self.viewer, out.editor.tracks, out.labels, out.name, out.tracks)
            if active is not None and active in layers and layers.selection.active is not active:
                layers.selection.active = active

    # -- where one is ---------------------------------------------------------------------------------------------
    @property
    def frame(self) -> int | None:
        """The time point on display; None without tracks, or beyond them."""
        return self.outcome.frame(self.viewer.dims) if self.outcome is not None else None

    def here(self) -> int:
        """The time point on display. Raises InputError where there is none."""
        frame = self.frame
        if frame is None:
            raise InputError("the sliders stand beyond the labels: go to one of their frames first.")
        return frame

    def choose(self, tracks: Sequence[int], *, move: bool = False) -> None:
        """Choose tracks, the first of which is edited; with ``move`` the viewer goes there."""
        out = self.outcome
        if out is None:
            return
        now = tuple(dict.fromkeys(int(i) for i in tracks if int(i) in out.editor.tracks))
        other, self.choice = now != self.choice, now
        if now:
            with self.watch.hushed():
                out.labels.selected_label = now[0]
            if move:
                self.go(now[0], out.nearest_frame(now[0], self.frame))
        if other:
            self.chosen.emit()

    def go(self, track: int, frame: int) -> None:
        """Show a track in a frame, in the middle of the canvas."""
        with told("going to a track"):
            if self.outcome is not None:
                self.outcome.go(self.viewer, track, frame)

    def next_doubtful(self) -> tuple[int, int, float, int] | None:
        """Go to the least sure link that was not shown yet; after the last the first comes again.

        Returns
        -------
        (track, frame, confidence, how many are left below `DOUBTFUL`), None where every link is certain.
        """
        with told("looking for links"):
            tracks = self.ready().editor.tracks
            links = doubtful_links(tracks)
            left = [link for link in links if link[:2] not in self._looked]
            if not left:
                self._looked.clear()
                left = links
            if left:
                track, frame, sure = left[0]
                mothers = tracks.parents.get(track, ()) if frame == tracks.begin(track) else ()
                sisters = {(c, tracks.begin(c)) for m in mothers for c in tracks.children(m)}  # one look at a division
                self._looked |= {(track, frame), *sisters}
                self.choose([track, *mothers])
                self.go(track, frame)
                return track, frame, sure, sum(c < DOUBTFUL and (i, t) not in self._looked for i, t, c in left)
        return None

    def clicked(self, event: Any) -> None:
        """Choose the track below the pointer; with Shift besides those that are chosen."""
        track = self.outcome.track_below(self.viewer, event) if self.outcome is not None else None
        if track is not None:
            others = [i for i in self.choice if i != track] if "Shift" in event.modifiers else []
            self.choose([*others, track])


def _let_paint(held: list[Labels], *_: Any) -> None:
    """Let layers be painted in again, and forget them."""
    while held:
        held.pop().editable = True
