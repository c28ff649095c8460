"""`Reviewing`: what can be done with the results of a `Workbench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Literal, TypeVar

from napari.utils.colormaps import Colormap
from qtpy.QtCore import QObject, QTimer, Signal

from ..core.cleanup import Operation
from ..errors import InputError
from ..session.project import Project
from .notices import tell, told
from .overlay import PlaneOverlay
from .workbench import Workbench

By = Literal["slice", "run"]
Step = TypeVar("Step")
# nothing where examples agree, so that image and labels can be seen
_DISAGREEMENT = Colormap([[1, 0.1, 0.6, 0], [1, 0.1, 0.6, 0.9], [1, 1, 0.3, 1]], name="disagreement")
_BATCH = 8  # slices that are changed before the viewer is served again


class Reviewing(QObject):
    """Unsure slices, verified ones, undo, clean-up, and where examples disagree.

    ``cleaned`` tells that a clean-up is done.
    """

    cleaned = Signal()

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self.bench = bench
        self._preview = PlaneOverlay(bench.viewer, "clean-up preview", opacity=0.9)
        self._map = PlaneOverlay(
            bench.viewer, "disagreement", colormap=_DISAGREEMENT, blending="translucent", contrast_limits=(0, 1)
        )
        self._previewed: tuple[Operation, float] | None = None
        self._mapped = False
        bench.moved.connect(self._follow)
        bench.changed.connect(lambda topic, position: self._follow() if position == bench.position else None)
        bench.opened.connect(self.end)

    # -- unsure and verified --------------------------------------------------------------------------------------
    @property
    def num_slices(self) -> int:
        """How many slices the image has."""
        return len(self.bench.view.stack) if self.bench.view is not None else 0

    @property
    def confidence(self) -> dict[int, float]:
        """Confidence by slice."""
        return self.bench.project.confidence if self.bench.project is not None else {}

    @property
    def verified(self) -> set[int]:
        """Slices that a person found right."""
        return self.bench.project.verified if self.bench.project is not None else set()

    @property
    def annotated(self) -> set[int]:
        """Slices that are examples."""
        return self.bench.project.annotated if self.bench.project is not None else set()

    def hint(self) -> str:
        """What to do next, in a sentence."""
        best = self.bench.project.annotate_next() if self.bench.project is not None else None
        if best is None or self.bench.view is None:
            return ""
        return f"Annotate {self.bench.view.title(best)} next: unsure, and far from the examples."

    def next_unsure(self) -> None:
        """Go to the least sure slice; if it is on display, to the next less sure one."""
        with told("looking for unsure slices"):
            position = self.bench.ready().next_unsure(self.bench.position)
            if position is None:
                raise InputError("no unlocked slice has a confidence yet: run the model first.")
            self.bench.go_to(position)

    def verify(self) -> None:
        """Lock the slice on display as right; again: unlock it."""
        with told("verifying the slice"):
            project, position = self.bench.here()
            project.verify(position, position not in project.verified)

    # -- undo -----------------------------------------------------------------------------------------------------
    def undo(self, by: By) -> None:
        """Take back what the model wrote last; what a person painted stays."""
        with told("undoing"):
            project = self.bench.ready()
            steps = iter(project.undo_slice()) if by == "slice" else project.undo_run()
            self._some(steps, partial(self._show_changed, "undo"))

    def redo(self, by: By) -> None:
        """Write again what was undone."""
        with told("redoing"):
            project = self.bench.ready()
            steps = iter(project.redo_slice()) if by == "slice" else project.redo_run()
            self._some(steps, partial(self._show_changed, "redo"))

    def _show_changed(self, what: str, positions: list[int]) -> None:
        if not positions:
            raise InputError(f"there is nothing to {what}.")
        if len(positions) == 1:
            self.bench.go_to(positions[0])

    def _some(self, steps: Iterator[Step], then: Callable[[list[Step]], None], done: Sequence[Step] = ()) -> None:
        """Do a few slices, then let the viewer live, then the next; at last tell what all of them gave."""
        project = self.bench.project
        with told("changing slices"):
            batch = list(islice(steps, _BATCH))
            if len(batch) < _BATCH:
                then([*done, *batch])
            else:
                QTimer.singleShot(0, lambda: self._more(project, steps, then, [*done, *batch]))

    def _more(
        self, project: Project | None, steps: Iterator[Step], then: Callable[[list[Step]], None], done: Sequence[Step]
    ) -> None:
        if self.bench.project is project:  # else it was closed, and its slices stay as they are
            self._some(steps, then, done)

    # -- clean-up -------------------------------------------------------------------------------------------------
    def preview(self, operation: Operation, size: float) -> None:
        """Show what the slice on display would become."""
        self._previewed = operation, size
        self._follow()

    def end_preview(self) -> None:
        """Take the preview away."""
        self._previewed = None
        self._preview.hide()

    def clean_up(self, operation: Operation, size: float, *, everywhere: bool) -> None:
        """Clean up the slice on display, or every one that the model painted; locked ones stay."""
        with told("cleaning up"):
            project, position = self.bench.here()
            if not everywhere and position in project.locked:
                raise InputError("this slice is locked: it is an example, or verified. Unlock it first.")
            steps = project.cleanup(list(project.confidence) if everywhere else [position], operation, size)
            self._some(steps, self._tell_cleaned)

    def _tell_cleaned(self, changed: list[bool]) -> None:
        tell(f"Slices changed by the clean-up: {sum(changed)}.")
        self.cleaned.emit()

    # -- disagreement ---------------------------------------------------------------------------------------------
    def show_disagreement(self, on: bool) -> None:
        """Show where the examples disagree about the slice on display, and about those that are gone to."""
        self._mapped = on
        project = self.bench.project
        if on and project is not None and not any(project.disagreement.get(p) is not None for p in project.confidence):
            tell("No run has asked examples one by one yet: choose that under Advanced, or quality Best, and run.")
        self._map.hide() if not on else self._follow()

    # -- overlays follow the slice on display ---------------------------------------------------------------------
    def _follow(self) -> None:
        bench = self.bench
        project, position, view = bench.project, bench.position, bench.view
        if project is None or position is None or view is None:
            return
        if self._previewed is not None:
            with told("previewing"):
                self._preview.show(view, position, project.cleaned(position, *self._previewed))
        if self._mapped:
            disagreement = project.disagreement.get(position)
            if disagreement is not None:
                self._map.show(view, position, disagreement)
            else:
                self._map.hide()

    def end(self) -> None:
        """Take the overlays away."""
        self._preview.hide()
        self._map.hide()
