"""`Collecting`: what can be done with the examples of a `Workbench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject, Signal

from ..core.example_set import ExampleItem, ExampleSet, Rgb
from ..core.types import Example
from ..errors import InputError
from ..io.example_sets import load_examples, save_examples
from .layers import ImageView, LayerPlanes
from .notices import tell, told
from .workbench import Workbench

NUM_COLORS = 10_000  # labels that keep napari's colours beside those that were chosen
NUM_LISTED = 50  # labels that can be named: more are objects, of which each has a number alone


class Collecting(QObject):
    """The examples, and what people do with them; each errand that fails is told as a notification.

    ``doubted`` asks whether a slice without labels is meant to be an example.
    """

    doubted = Signal(str)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self.bench = bench

    @property
    def examples(self) -> ExampleSet:
        """The examples; none without a project."""
        return self.bench.project.examples if self.bench.project is not None else ExampleSet()

    # -- adding ---------------------------------------------------------------------------------------------------
    def add_slice(self, *, empty: bool = False) -> None:
        """Make the slice on display an example, along whichever axes it is.

        Parameters
        ----------
        empty
            A slice without labels is meant so; else it is asked about.
        """
        bench = self.bench
        with told("adding the slice"):
            project = bench.ready()
            if bench.view is not None and bench.planes is not None and not bench.view.shows(bench.viewer.dims):
                if not project.confidence and not project.examples.items and not project.verified:
                    image, labels = bench.view.layer, bench.planes.layer
                    bench.close()
                    bench.open(image, labels)  # along the axes that are displayed now
                else:
                    self._add_plane_of(bench.view_of(bench.view.layer), bench.planes.layer)
                    return
            project, position = bench.here()
            others = any(any(item.example.ids) for item in project.examples.items)
            if others and not empty and position not in project.annotated and not project.labels.read(position).any():
                self.doubted.emit(f"Nothing is painted in this slice: is it really empty?{self._painted_elsewhere()}")
                return
            try:
                project.add_example(position)
            except InputError as error:
                raise InputError(f"{error}{self._painted_elsewhere()}") from error

    def _painted_elsewhere(self) -> str:
        """That another labels layer is selected: perhaps it was painted in; nothing if there is none."""
        bench = self.bench
        used = bench.planes.layer if bench.planes is not None else None
        active = bench.viewer.layers.selection.active
        if used is None or active is used or not isinstance(active, Labels):
            return ""
        return f" The dock uses {used.name}, the active layer is {active.name}."

    def other_images(self) -> list[Image]:
        """Open images, other than the one that is worked on, that have labels."""
        own = self.bench.view.layer if self.bench.view is not None else None
        return [image for image in self.bench.images() if image is not own and self._labels_of(image) is not None]

    def add_from(self, image: Image) -> None:
        """Make the slice of another open image, where the viewer stands, an example."""
        with told("adding a slice of another image"):
            self._add_plane_of(self.bench.view_of(image), self._labels_of(image))

    def _labels_of(self, image: Image) -> Labels | None:
        """The labels of another open image: not those that are worked on."""
        labels = self.bench.usual_labels(image)
        return None if self.bench.planes is not None and labels is self.bench.planes.layer else labels

    def _add_plane_of(self, view: ImageView, labels: object) -> None:
        """Add the displayed plane of a view that is not the project's."""
        project, name = self.bench.ready(), view.layer.name
        position = view.position(self.bench.viewer.dims)
        if position is None:
            raise InputError(f"the sliders stand beyond {name}: go to one of its slices first.")
        stack = view.stack.normalized()
        plane = LayerPlanes(labels, view, lambda: None).read(position)
        example = Example.from_labels(stack.plane(position), plane, project.examples.ignore_label, stack.spacing)
        if not any(example.ids):
            raise InputError(f"no label is painted on this slice of {name}: go to one that has labels.")
        own = self.bench.view is not None and view.layer is self.bench.view.layer
        title = f"{name}, {view.title(position)}" + (" (turned)" if own else "")
        source = f"{name} (turned)" if own else name
        place = () if own else stack.unravel(position)
        project.add_item(ExampleItem(example, title, source, None if own else position, place))

    # -- the list -------------------------------------------------------------------------------------------------
    def go_to(self, number: int) -> None:
        """Go to the slice that an example was taken from; for one of another image, nothing happens."""
        item, project = self.examples.items[number], self.bench.project
        if project is not None and item.position is not None and item.position in project.annotated:
            self.bench.go_to(item.position)

    def where_from(self, item: ExampleItem) -> str:
        """Where an example was taken, for people: the slice, with the image if that is another one."""
        view, project = self.bench.view, self.bench.project
        own = project is not None and item.source == project.source and item.position is not None
        if own and view is not None and item.position is not None and item.position < len(view.stack):
            return view.title(item.position)
        place = ", ".join(str(i) for i in item.index)
        return f"{item.source or 'another image'} {place}".strip()

    def rename(self, number: int, name: str) -> None:
        """Give an example another name."""
        if self.bench.project is not None and name != self.examples.items[number].name:
            self.bench.project.rename_example(number, name)

    def move(self, number: int, to: int) -> None:
        """Put an example elsewhere in the order."""
        if self.bench.project is not None:
            self.bench.project.move_example(number, min(to, len(self.examples) - 1))

    def use(self, number: int, used: bool) -> None:
        """Show an example to the model, or not."""
        if self.bench.project is not None and used != self.examples.items[number].used:
            self.bench.project.use_example(number, used)

    def remove(self, number: int) -> None:
        """Take an example out; its slice is locked no longer."""
        if self.bench.project is not None:
            self.bench.project.remove_example(number)

    # -- files ----------------------------------------------------------------------------------------------------
    def open_file(self, path: str | Path) -> None:
        """Add the examples of a file."""
        with told("opening the example set"):
            self.take_over(load_examples(path), Path(path).name)

    def take_over(self, examples: ExampleSet, where_from: str) -> None:
        """Add examples to this work; own slices without labels get theirs."""
        with told("adding examples"):
            count = self.bench.ready().import_examples(examples)
            self._color_labels()
            tell(f"{count} new {'example' if count == 1 else 'examples'} from {where_from}.")

    def save_file(self, path: str | Path) -> None:
        """Save the examples as one file."""
        with told("saving the examples"):
            self.bench.refresh_examples()
            file = save_examples(path, self.examples, overwrite=True)  # the file dialog has asked
            tell(f"Saved {file.name}.")

    # -- what labels mean -----------------------------------------------------------------------------------------
    def class_ids(self) -> list[int]:
        """Labels to name: those of the examples, of very many only the first, and those that have a name or colour."""
        painted = sorted({i for item in self.examples.items for i in item.example.ids if i})
        known = set(self.examples.class_names) | set(self.examples.class_colors)
        return sorted(known | set(painted[:NUM_LISTED])) or [1]

    def color_of(self, label: int) -> Rgb:
        """The colour of a label: the one that was chosen, else that of the labels layer."""
        if label in self.examples.class_colors:
            return self.examples.class_colors[label]
        color = self.bench.planes.layer.get_color(label) if self.bench.planes is not None else None
        return (1.0, 0.6, 0.1) if color is None else (float(color[0]), float(color[1]), float(color[2]))

    def set_classes(self, names: dict[int, str], colors: dict[int, Rgb], ignore_label: int | None) -> None:
        """Say what the labels mean: names, colours, and which one is "not annotated"."""
        with told("naming the labels"):
            project = self.bench.ready()
            if ignore_label != project.examples.ignore_label:
                project.set_ignore_label(ignore_label)
            project.set_classes(names, colors)
            self._color_labels()

    def _color_labels(self) -> None:
        """Give the labels layer the chosen colours; other labels keep theirs."""
        if self.bench.planes is None or not self.examples.class_colors:
            return
        layer, chosen = self.bench.planes.layer, self.examples.class_colors
        colors: dict[int | None, Any] = dict(enumerate(layer.colormap.map(np.arange(NUM_COLORS))))
        colors |= {None: (0.6, 0.6, 0.6, 1.0), 0: (0, 0, 0, 0)}
        colors |= {i: (*color, 1.0) for i, color in chosen.items()}
        layer.colormap = DirectLabelColormap(color_dict=colors)
