"""Step 1: the examples, as pictures; adding the slice on display, taking over others, and example sets as files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QSizePolicy, QWidget

from ..core.example_set import SUFFIX, ExampleItem
from ..core.words import counted
from .asking import may_replace
from .classes_dialog import ClassesDialog
from .collecting import Collecting
from .controls import allow, button, menu_button
from .section import Section
from .theme import Colors
from .thumbnail import thumbnail
from .thumbnail_list import SIDE, Row, ThumbnailList

_FILES = f"Example sets (*{SUFFIX})"


class ExamplesSection(Section):
    """The list of examples, and what can be done with them."""

    def __init__(self, collecting: Collecting, colors: Colors, parent: QWidget | None = None) -> None:
        super().__init__("1  Examples", "Slices that you annotated: the model is shown these.", parent)
        self._collecting = collecting
        self.add = button(
            "Add this slice", "Use the labels of the slice on display as an example, and lock it (Shift+A).",
            collecting.add_slice, primary=True,
        )  # fmt: skip
        self.more = menu_button("More", "Examples of other images; example sets as files; classes.", self._fill_menu)
        self.list = ThumbnailList(colors)
        self.list.setToolTip(
            "Click: go to the slice. Tick: use it or not. Double click: rename. Drag: reorder. Delete: take it out."
        )
        self.list.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        buttons = QHBoxLayout()
        buttons.addWidget(self.add, 1)
        buttons.addWidget(self.more)
        self.content.addLayout(buttons)
        self.content.addWidget(self.list)
        self.list.went.connect(collecting.go_to)
        self.list.renamed.connect(collecting.rename)
        self.list.removed.connect(collecting.remove)
        self.list.moved.connect(collecting.move)
        self.list.ticked.connect(collecting.use)
        self.refresh()

    def set_colors(self, colors: Colors) -> None:
        """Take another theme's colours."""
        self.list.colors = colors
        self.list.viewport().update()

    def refresh(self) -> None:
        """Show the examples as they are now."""
        examples = self._collecting.examples
        allow(self.add, self._collecting.bench.view is not None, "Open an image first.")
        self.list.show_rows([self._row(item) for item in examples.items])
        used = sum(item.used for item in examples.items)
        self.summarize(f"{used} of {len(examples.items)} used" if examples.items else "none yet")

    def _row(self, item: ExampleItem) -> Row:
        examples = self._collecting.examples
        ids = [i for i in item.example.ids if i]
        where = self._collecting.where_from(item)
        names = ", ".join(examples.class_names.get(i, f"label {i}") for i in ids[:6])
        return Row(
            item.name,
            f"{where} · {counted(len(ids), 'object' if examples.kind == 'instance' else 'label')}",
            thumbnail(item.example, self._collecting.color_of, SIDE * 2),
            item.used,
            f"{item.name}: {names}{' …' if len(ids) > 6 else ''}",
        )

    # -- the menu -------------------------------------------------------------------------------------------------
    def _fill_menu(self, menu: QMenu) -> None:
        others = menu.addMenu("Add from another open image")
        for layer in self._collecting.other_images():
            others.addAction(layer.name, partial(self._collecting.add_from, layer))
        others.setEnabled(bool(others.actions()))
        menu.addSeparator()
        menu.addAction("Open an example set …", self._open)
        menu.addAction("Save the examples …", self._save).setEnabled(bool(self._collecting.examples.items))
        menu.addSeparator()
        menu.addAction("Names and meaning of labels …", self._edit_classes)

    def _open(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open an example set", "", _FILES)
        if name:
            self._collecting.open_file(name)

    def _save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save the examples", f"examples{SUFFIX}", _FILES)
        file = Path(name if name.lower().endswith(SUFFIX) else f"{name}{SUFFIX}")
        if name and may_replace(self, "Save the examples", [file], Path(name)):
            self._collecting.save_file(file)

    def _edit_classes(self) -> None:
        collecting = self._collecting
        dialog = ClassesDialog(
            collecting.class_ids(), collecting.examples.class_names, collecting.examples.class_colors,
            {i: collecting.color_of(i) for i in collecting.class_ids()}, collecting.examples.ignore_label, self,
        )  # fmt: skip
        if dialog.exec():
            collecting.set_classes(dialog.names, dialog.colors, dialog.ignore_label)
        dialog.deleteLater()
