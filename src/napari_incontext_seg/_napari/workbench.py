"""`Workbench`: joins a viewer's layers to a `Project`, and runs the model on it.

The state of the work is the project's. Here are only the layers that it is about, and the run that is under way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer, Signal

from ..errors import InputError
from ..session.autosave import identity
from ..session.project import Project
from ..session.settings import RunSettings
from .job import Job, Run, Stop
from .layers import ImageView, LayerPlanes, fits, guess_letters, labels_for, view_image
from .models import Say, Share, ready_predictor, tuned_predictor
from .notices import tell, tell_error, told
from .strokes import Strokes

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from ..core.types import Predictor
    from ..infer.key import Key

_OF = "incontext image"  # in a labels layer's metadata: the image that it was first worked on with
_SETTLE = 300  # ms after the last brush stroke, when an example is brought up to date


class _AtEnd:
    """Closes the project that is open when the dock is gone; it holds no widget, so it can be called then."""

    project: Project | None = None

    def __call__(self, *_: object) -> None:
        if self.project is not None:
            self.project.close()


class Workbench(QObject):
    """The image and labels layers that are worked on, the project about them, and its runs.

    ``opened`` tells that other layers were chosen, ``moved`` that another slice is on display, ``changed`` that
    something of the project is new: the topic, and a slice or -1; ``painted`` that a person painted in a slice.
    """

    opened = Signal()
    moved = Signal()
    changed = Signal(str, int)
    painted = Signal(int)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.job = Job(self)
        self.view: ImageView | None = None
        self.planes: LayerPlanes | None = None
        self.project: Project | None = None
        self.axes: WeakKeyDictionary[Image, str] = WeakKeyDictionary()
        self.channels: WeakKeyDictionary[Image, tuple[int, ...] | None] = WeakKeyDictionary()
        self.left: WeakKeyDictionary[Labels, Path] = WeakKeyDictionary()  # the session of work that was left
        self._stroked: WeakKeyDictionary[Labels, Strokes] = WeakKeyDictionary()  # and what was painted by hand then
        self.learned: Key | None = None
        self._keys: list[Key] = []  # what the thread that runs now has learned
        self._at_end = _AtEnd()
        self.destroyed.connect(self._at_end)
        self._edited: set[int] = set()
        self._strokes = Strokes()
        self._told_kept = False
        self.provenance: dict[str, Any] = {}
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE)
        self._settle.timeout.connect(self.refresh_examples)
        viewer.dims.events.current_step.connect(self._on_moved)
        viewer.dims.events.order.connect(self._on_moved)
        self.job.stepped.connect(self._on_step)
        self.job.ended.connect(self._on_ended)

    # -- layers ---------------------------------------------------------------------------------------------------
    def images(self) -> list[Image]:
        """The image layers that can be worked on; hidden ones come first, and previews not at all."""
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        return sorted((i for i in images if "incontext" not in i.metadata), key=lambda layer: layer.visible)

    def fitting_labels(self, image: Image) -> list[Labels]:
        """The labels layers that are as large as an image; hidden ones come last."""
        with suppress(InputError):
            view = self.view if self.view is not None and self.view.layer is image else self.view_of(image)
            found = [
                layer for layer in self.viewer.layers
                if isinstance(layer, Labels) and "incontext" not in layer.metadata and fits(layer, view)
            ]  # fmt: skip
            return sorted(found, key=lambda layer: not layer.visible)
        return []

    def usual_labels(self, image: Image) -> Labels | None:
        """The labels layer to work on with an image unless a person chooses another; None if that is in doubt.

        A layer that was worked on with another image holds the labels of that one, and is never taken.
        """
        fitting = self.fitting_labels(image)
        for layer in fitting:
            if layer.metadata.get(_OF) == str(image.unique_id):
                return layer
        fresh = [layer for layer in fitting if _OF not in layer.metadata]
        fresh = [layer for layer in fresh if layer.visible] or fresh
        if len(fresh) > 1 and any(fresh[0] in self.fitting_labels(i) for i in self.images() if i is not image):
            return None  # whose they are only a person knows
        return fresh[0] if fresh else None

    def view_of(self, image: Image) -> ImageView:
        """An image layer along the axes on display, with the names and channels that a person chose for it."""
        return view_image(image, self.viewer.dims, self.axes.get(image), self.channels.get(image))

    def name_axes(self, axes: str, channels: tuple[int, ...] | None = None) -> None:
        """Say what the axes of the image are, and which channels are looked at; if that is new, work begins anew.

        Raises
        ------
        InputError
            They do not fit the image.
        """
        if self.view is None:
            return
        image, labels = self.view.layer, self.planes.layer if self.planes is not None else None
        now = self.axes.get(image) or guess_letters(image), self.view.stack.used_channels if "c" in axes else None
        if (axes, channels) == now:
            return
        view_image(image, self.viewer.dims, axes, channels)
        self.axes[image], self.channels[image] = axes, channels
        self.close()
        self.open(image, labels if labels in self.fitting_labels(image) else None)

    def open(self, image: Image | None, labels: Labels | None) -> None:
        """Work on these layers; a project about others is closed. Nothing happens if they are worked on already."""
        now = (self.view and self.view.layer, self.planes and self.planes.layer)
        if now == (image, labels):
            return
        self.close()
        with told("opening the layers"):
            if image is not None:
                self.view = self.view_of(image)
                if labels is not None:
                    self._open_project(labels)
        self.opened.emit()

    def _open_project(self, labels: Labels) -> None:
        assert self.view is not None
        planes = LayerPlanes(labels, self.view, lambda: self.position)
        self.project = Project(self.view.stack, planes, on_change=self._on_change)
        self.planes, self._at_end.project = planes, self.project
        known = self._stroked.get(labels)
        self._strokes = known if known is not None and known.data is labels.data else Strokes(labels.data)
        labels.events.paint.connect(self._on_paint)
        labels.events.set_data.connect(self._on_drawn)
        labels.mouse_drag_callbacks.append(self._on_drag)

    def close(self) -> None:
        """Stop what is running, and let go of the layers."""
        self.job.cancel()
        self.refresh_examples()
        if self.planes is not None:
            labels = self.planes.layer
            labels.events.paint.disconnect(self._on_paint)
            labels.events.set_data.disconnect(self._on_drawn)
            with suppress(ValueError):
                labels.mouse_drag_callbacks.remove(self._on_drag)
            self._stroked[labels] = self._strokes
        if self.project is not None:
            if self.planes is not None and self.project.autosave is not None:
                self.left[self.planes.layer] = self.project.autosave.folder
            self.project.close()
        self.view = self.planes = self.project = self._at_end.project = None

    def let_go(self) -> None:
        """Close the project, and follow the viewer no longer."""
        self.close()
        self.viewer.dims.events.current_step.disconnect(self._on_moved)
        self.viewer.dims.events.order.disconnect(self._on_moved)

    def close_replaced(self) -> None:
        """Close the project if the data of its layers was replaced: by another image, or by labels that do not fit.

        Labels that fit are a person's from then on: the model does not write over them.
        """
        view = self.view
        if view is None:
            return
        if self.planes is not None and not fits(self.planes.layer, view):
            self._edited.clear()  # they are gone
            self.close()
            return
        if view.data is not view.stack.data:
            with suppress(InputError):
                if identity(replace(view.stack, data=view.data)) != identity(view.stack):
                    self.close()
        if self.planes is not None and self.project is not None and self.planes.layer.data is not self._strokes.data:
            self._strokes = Strokes(self.planes.layer.data)
            self.project.forget_confidence()

    def make_labels(self, image: Image) -> Labels:
        """Make an empty labels layer that lies where an image does, ready to paint in."""
        labels = self.viewer.add_labels(**labels_for(self.view_of(image)), metadata={_OF: str(image.unique_id)})
        labels.mode = "paint"
        return labels

    # -- slices ---------------------------------------------------------------------------------------------------
    @property
    def position(self) -> int | None:
        """The slice on display; None without an image, beyond it, or while the axes are turned."""
        view = self.view
        if view is None or view.layer not in self.viewer.layers or not view.shows(self.viewer.dims):
            return None
        return view.position(self.viewer.dims)

    def go_to(self, position: int) -> None:
        """Display a slice."""
        if self.view is not None:
            with told("going to a slice"):
                self.view.go_to(self.viewer.dims, position)

    def ready(self) -> Project:
        """The project.

        Raises
        ------
        InputError
            There is none yet, and what to do.
        """
        if self.view is None:
            raise InputError("open an image first.")
        if self.project is None:
            raise InputError("choose a labels layer first, or make one (New).")
        return self.project

    def here(self) -> tuple[Project, int]:
        """The project, and the slice on display.

        Raises
        ------
        InputError
            There is none, and what to do.
        """
        project, position = self.ready(), self.position
        if position is None:
            turned = self.view is not None and not self.view.shows(self.viewer.dims)
            raise InputError(
                "the axes are turned: turn them back (Ctrl+E), so that the slices of this work are shown."
                if turned
                else "the sliders stand beyond the image: go to one of its slices first."
            )
        return project, position

    # -- running --------------------------------------------------------------------------------------------------
    def run(self, settings: RunSettings, predictor: Predictor | None = None) -> bool:
        """Start a run from the slice on display; False, and a notice, if something is in the way.

        Parameters
        ----------
        settings
            How it goes.
        predictor
            Used instead of the model of the settings.
        """
        with told("starting the run"):
            if self.job.running:
                raise InputError("a run is under way: cancel it first, or wait for its end.")
            project, position = self.here()
            self.refresh_examples()
            if settings.key is None:  # a key has examples of its own
                project.examples.context()  # says what to do if no example is used
            project.settings = settings
            self._told_kept = False
            self._keys.clear()
            self.job.start(partial(_prepare, project, position, predictor, self._keys), "In-context segmentation")
            return True
        return False

    def _on_step(self, step: Any) -> None:
        """Write a finished slice."""
        if self.project is None:
            return
        try:
            self._follow_undo()
            self._strokes.forget_undone(step.position)
            self._keep_what_was_there(self.project, step.position)
            self.project.commit(step)
            self.provenance = dict(step.segmentation.provenance)
        except Exception as error:  # told once: the next slice would fail alike
            self.job.cancel()
            tell_error(error, "writing a slice")

    def _on_ended(self, _: str) -> None:
        """Keep what tuning gained, also if the run was cancelled; in 3D, where one slice is not drawn alone, draw."""
        if self.planes is not None and self.viewer.dims.ndisplay == 3:
            self.planes.layer.refresh()
        if self._keys:
            key = self._keys.pop()
            if key.learned.kept:
                self.learned = key
                tell(f"Tuned: {key.learned}. Export can save it as a key.")
            else:
                tell(f"Not tuned: {key.learned}.")

    def _keep_what_was_there(self, project: Project, position: int) -> None:
        """Labels that neither the model nor a brush seen by this project made are a person's: they stay."""
        if position in project.confidence or position in project.locked or self.planes is None:
            return
        found = (self.planes.read(position) > 0) & ~project.touched[position]
        if not found.any():
            return
        project.note_hand_edit(position, found)
        if not self._told_kept:
            self._told_kept = True
            tell(
                "Labels that were there before are kept. To have these slices painted anew, press New (labels), and "
                "take over the examples (Use them)."
            )

    # -- what people and layers do --------------------------------------------------------------------------------
    def refresh_examples(self) -> None:
        """Save slices that were edited, as examples too; else it happens a moment after the last stroke."""
        edited, self._edited = self._edited, set()
        self._settle.stop()
        if self.project is not None:
            with told("bringing an example up to date"):
                for position in sorted(edited):
                    self.project.refresh_example(position)

    def _on_paint(self, event: Any) -> None:
        if self.project is None or self.planes is None:
            return
        self._note_use()
        masks = self.planes.painted(event.value)
        self._strokes.add(event.value, {p: mask & ~self.project.touched[p] for p, mask in masks.items()})
        for position, mask in masks.items():
            self.project.note_hand_edit(position, mask)
            self.painted.emit(position)
            self._note_edited(position)

    def _on_drawn(self, _: Any = None) -> None:
        """The labels were drawn anew: perhaps napari's undo changed them."""
        self._follow_undo()
        shown = self.position
        if self.project is not None and shown is not None and shown in self.project.annotated:
            self._note_edited(shown)

    def _follow_undo(self) -> None:
        if self.project is None or self.planes is None or self.view is None:
            return
        for undone, fresh in self._strokes.follow():
            for position, pixels in fresh.items():
                mask = np.zeros(self.view.stack.plane_shape, bool)
                mask.flat[pixels] = True
                self.project.note_hand_edit(position, mask, undone=undone)
                self._note_edited(position)

    def _note_edited(self, position: int) -> None:
        self._edited.add(position)
        self._settle.start()

    def _on_drag(self, layer: Labels, event: Any) -> Iterator[None]:
        """While a brush is down the model's slices wait: they must not write over a stroke that is not told of yet."""
        if layer.mode in ("pan_zoom", "transform"):
            return
        self.job.hold(True)
        yield
        while event.type == "mouse_move":  # napari goes on with this at every move, and at last at the release
            yield
        QTimer.singleShot(0, partial(self.job.hold, False))  # after napari has told of the stroke

    def _on_moved(self, _: Any = None) -> None:
        self.moved.emit()

    def _note_use(self) -> None:
        """Remember, on the labels layer, which image it belongs to: for others it is not taken by itself."""
        if self.view is not None and self.planes is not None:
            self.planes.layer.metadata.setdefault(_OF, str(self.view.layer.unique_id))

    def _on_change(self, topic: str, position: int | None) -> None:
        self._note_use()
        self.changed.emit(topic, -1 if position is None else position)


def _prepare(
    project: Project, position: int, predictor: Predictor | None, keys: list[Key], stop: Stop, say: Say, share: Share
) -> Run:  # fmt: skip
    """Make a run ready; called in its thread. What is learned joins ``keys``."""
    settings = project.settings
    chosen = predictor if predictor is not None else ready_predictor(settings, stop, say, share)
    run = project.start(chosen, position)
    if settings.tune_seconds is not None and not stop():
        run.predictor, key = tuned_predictor(chosen, run.context, settings.tune_seconds, stop, say, share)
        keys.append(key)
    return run
