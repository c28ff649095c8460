"""`InContextDock`: annotate, propagate, review: the whole job in one dock, its steps in the order of the work."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QMessageBox, QVBoxLayout, QWidget

from ..core.example_set import ExampleSet
from ..core.instances import one_piece_each
from .collecting import Collecting
from .examples_section import ExamplesSection
from .keeping import Keeping
from .keys import bind, bind_dock, unbind
from .layer_choice import LayerChoice
from .layers import align, lies_elsewhere
from .leaving import LeavingDock
from .models import question, to_download
from .notices import tell, tell_error, tell_warning
from .offer import Offer
from .propagate_section import PropagateSection
from .readers import KEY
from .review_section import ReviewSection
from .reviewing import Reviewing
from .theme import Colors, style_sheet
from .workbench import Workbench

if TYPE_CHECKING:
    from napari.viewer import Viewer

WIDTH = 360  # pixels: what a laptop's screen can spare beside a canvas


class InContextDock(LeavingDock):
    """The dock.

    Parameters
    ----------
    napari_viewer
        Given by napari.
    """

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.bench = Workbench(napari_viewer, self)
        colors = Colors.of(napari_viewer.theme)
        self.layers = LayerChoice(self.bench)
        self.collecting = Collecting(self.bench)
        self.reviewing = Reviewing(self.bench)
        self.keeping = Keeping(self.bench)
        self.restore = Offer("Restore", "Bring back examples, verified slices and results.", self._on_restore)
        self.take_over = Offer("Use them", "Add these examples to this work.", self._on_take_over)
        self.align = Offer("Align", "Give the labels layer the image's scale and position.", self._on_align)
        self.empty = Offer("It is empty", "Add it: an example of slices that show none of this.", self._on_empty)
        self._offered: Callable[[], None] = lambda: None  # what is done when examples are taken over
        self.examples = ExamplesSection(self.collecting, colors)
        self.propagate = PropagateSection()
        self.review = ReviewSection(self.reviewing, self.keeping, colors)
        self._build()
        self._connect()
        self._bound: list[Any] = []
        self._reviewed = False
        self._none_yet = True  # no example
        self._on_theme()
        bind_dock(self, self.actions_by_name())
        self.layers.refresh()
        self._on_opened()

    def actions_by_name(self) -> dict[str, Any]:
        """What the keys do."""
        return {
            "add_slice": self.collecting.add_slice,
            "run_or_cancel": self.run_or_cancel,
            "next_unsure": self.reviewing.next_unsure,
            "verify": self.reviewing.verify,
            "undo": lambda: self.reviewing.undo("slice"),
            "redo": lambda: self.reviewing.redo("slice"),
        }

    # -- running --------------------------------------------------------------------------------------------------
    def run_or_cancel(self) -> None:
        """Run with the settings of the form; cancel while a run is under way."""
        if self.bench.job.running:
            self.cancel()
        else:
            self.run()

    def run(self) -> None:
        """Run; what would have to be downloaded is asked about first."""
        settings = self.propagate.settings()
        weights = to_download(settings.model)
        if weights is not None and not self.confirm(question(weights)):
            return
        if self.bench.run(settings):
            self.propagate.show_running()

    def use_and_continue(self, direction: str) -> None:
        """Make the slice on display an example, and paint on from it."""
        self.collecting.add_slice()
        if self.bench.position in self.reviewing.annotated:
            self.propagate.go(direction)
            self.run()

    def cancel(self) -> None:
        """Stop after the slice that is being painted."""
        if self.bench.job.running:
            self.propagate.show_cancelling()
            self.bench.job.cancel()

    def confirm(self, words: str) -> bool:
        """Ask a yes-or-no question."""
        answer = QMessageBox.question(self, "Download", words)
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _on_ended(self, outcome: str) -> None:
        note = self.propagate.note.text()
        self.propagate.show_idle()
        self.propagate.say({"cancelled": "cancelled: finished slices are kept"}.get(outcome, note))
        if outcome == "failed":
            self.propagate.say("")

    # -- building -------------------------------------------------------------------------------------------------
    def _build(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(8, 6, 8, 6)
        column.setSpacing(6)
        for widget in (
            self.layers,
            self.align,
            self.restore,
            self.take_over,
            self.empty,
            self.examples,
            self.propagate,
            self.review,
        ):
            column.addWidget(widget)
        column.addStretch(1)
        self.scroll(body)
        self.setMinimumWidth(WIDTH)

    def _connect(self) -> None:
        bench, job = self.bench, self.bench.job
        bench.opened.connect(self._on_opened)
        bench.moved.connect(self._on_moved)
        bench.changed.connect(self._on_changed)
        bench.painted.connect(lambda _: self.empty.propose(None))
        self.layers.made.connect(self._on_made)
        self.collecting.doubted.connect(self.empty.propose)
        self.propagate.run_clicked.connect(self.run)
        self.propagate.cancel_clicked.connect(self.cancel)
        self.review.continue_asked.connect(self.use_and_continue)
        job.said.connect(self.propagate.say)
        job.shared.connect(self.propagate.show_share)
        job.progressed.connect(self.propagate.show_progress)
        job.ended.connect(self._on_ended)
        job.warned.connect(tell_warning)
        job.failed.connect(lambda error: tell_error(error, "running the model"))
        self.viewer.events.theme.connect(self._on_theme)
        self.viewer.layers.events.inserted.connect(self._on_inserted)

    # -- reactions ------------------------------------------------------------------------------------------------
    def _on_theme(self, _: Any = None) -> None:
        colors = Colors.of(self.viewer.theme)
        self.setStyleSheet(style_sheet(colors))
        self.examples.set_colors(colors)
        self.review.set_colors(colors)

    def _on_opened(self) -> None:
        self.propagate.show_stack(self.bench.view.stack if self.bench.view is not None else None)
        self._none_yet = not self.collecting.examples.items
        self.examples.refresh()
        self.review.refresh()
        for section in (self.propagate, self.review):
            section.setEnabled(self.bench.project is not None)
        if not self.bench.job.running:
            self.propagate.say("")  # it was about other layers
        settings = self.keeping.go_on()
        if settings is not None:
            self.propagate.show_settings(settings)
        self.restore.propose(self.keeping.offer())
        self.empty.propose(None)
        self._propose_to_align()
        self._bind_keys()

    def _propose_to_align(self) -> None:
        view, planes = self.bench.view, self.bench.planes
        askew = view is not None and planes is not None and lies_elsewhere(planes.layer, view)
        self.align.propose(
            "The labels have another scale or position than the image: they lie elsewhere." if askew else None
        )

    def _on_align(self) -> None:
        if self.bench.view is not None and self.bench.planes is not None:
            align(self.bench.planes.layer, self.bench.view)

    def let_go(self) -> None:
        """Take keys from layers and overlays from the viewer, save, and follow the viewer no longer."""
        self._unbind()
        self.reviewing.end()
        self.layers.let_go()
        self.bench.let_go()
        self.viewer.events.theme.disconnect(self._on_theme)
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)

    def _unbind(self) -> None:
        """Take keys from layers."""
        for layer in self._bound:
            unbind(layer)
        self._bound = []

    def _bind_keys(self) -> None:
        """Move the keys to the layers that are worked on now."""
        self._unbind()
        chosen = (self.bench.view, self.bench.planes)
        self._bound = [part.layer for part in chosen if part is not None]
        for layer in self._bound:
            bind(layer, self.actions_by_name())

    def _on_moved(self) -> None:
        self.empty.propose(None)
        self.review.show_position(self.bench.position)

    def _on_changed(self, topic: str, position: int) -> None:
        if topic == "examples":
            self.examples.refresh()
            self._tell_of_classes(position)
        if topic == "settings" and self.bench.project is not None:
            kind = self.bench.project.settings.kind
            if kind == "instance" and self.propagate.kind.currentData() != kind:
                tell("Labels look like objects (see Paint, in step 2).")
            self.propagate.show_kind(kind)
        if topic == "confidence" and not self._reviewed:
            self._reviewed = True  # there is something to look at now; folded by hand, it stays so
            self.review.set_open(True)
        self.review.refresh()

    def _tell_of_classes(self, position: int) -> None:
        """A few labels of one piece each could be objects as well: say so, with the first slice that is added."""
        items, first = self.collecting.examples.items, self._none_yet
        self._none_yet = not items
        classes = self.propagate.kind.currentData() == "semantic"
        if first and position >= 0 and classes and one_piece_each([item.example.labels for item in items]):
            tell("Labels are taken for classes. If each number is one object, choose Objects (see Paint, in step 2).")

    def _on_inserted(self, event: Any) -> None:
        """An example set was dropped on the viewer: perhaps it is meant for this work."""
        path = event.value.metadata.get(KEY)
        view = self.bench.view
        if path and self.bench.project is not None and view is not None and KEY not in view.layer.metadata:
            self._offered = partial(self.collecting.open_file, str(path))
            self.take_over.propose(f"{Path(str(path)).name} was opened.")

    def _on_made(self, examples: ExampleSet) -> None:
        """New labels were made: perhaps for the same work."""
        if examples.items:
            self._offered = partial(self.collecting.take_over, examples, "the work before")
            self.take_over.propose(f"Examples of the work before: {len(examples.items)}.")

    def _on_take_over(self) -> None:
        self._offered()

    def _on_empty(self) -> None:
        self.collecting.add_slice(empty=True)

    def _on_restore(self) -> None:
        settings = self.keeping.restore()
        self.restore.propose(self.keeping.offer())
        if settings is not None:
            self.layers.refresh()  # there may be a new labels layer
            self.propagate.show_settings(settings)
