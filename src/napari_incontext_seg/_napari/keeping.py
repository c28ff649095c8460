"""`Keeping`: nothing is lost: sessions are saved as work goes on and restored; labels and commands are taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from ..core.example_set import ExampleSet
from ..core.stack import Stack
from ..core.words import counted
from ..errors import InContextError, InputError
from ..io.labels import LabelWriter, label_files
from ..io.paths import stem
from ..io.storing import check_apart
from ..session.autosave import Autosave, autosave_folder
from ..session.project import Project
from ..session.saved import SavedSession, find_session, load_session
from ..session.settings import RunSettings
from .job import Job
from .layers import LayerPlanes, native_view
from .notices import tell, tell_error, told
from .workbench import Workbench


class Keeping(QObject):
    """Autosave, restore, export and the command line of a `Workbench`.

    Saving begins with the first thing that is worth it: an example, a stroke, a verified slice.
    """

    trouble = Signal(object)
    exported = Signal(str)

    def __init__(self, bench: Workbench) -> None:
        super().__init__(bench)
        self.bench = bench
        self.saved: SavedSession | None = None
        self._unsaved: Project | None = None  # it could not begin to be saved
        self.job = Job(self)
        self.job.failed.connect(partial(tell_error, doing="saving the labels"))
        self.job.ended.connect(self._on_exported)
        self._target = Path()
        self.trouble.connect(partial(tell_error, doing="saving the session"))  # comes from the thread that saves
        bench.opened.connect(self._on_opened)
        bench.changed.connect(self._on_changed)
        bench.painted.connect(lambda position: self._on_changed("painted", position))

    @property
    def image_path(self) -> Path | None:
        """The file or folder of the image, where there is one on this machine."""
        source = self.bench.view.layer.source.path if self.bench.view is not None else None
        path = Path(str(source)) if source else None
        return path if path is not None and path.exists() else None

    # -- sessions -------------------------------------------------------------------------------------------------
    def _on_opened(self) -> None:
        self.saved = None
        if self.bench.view is not None:
            with told("looking for a saved session"):
                self.saved = find_session(self.bench.view.stack, self.image_path)

    def offer(self) -> str | None:
        """What can be restored, in a sentence; None if there is nothing."""
        saved = self.saved
        if saved is None or not (len(saved.examples) or saved.painted or saved.verified):
            return None
        when = saved.saved.astimezone()
        day = "" if when.date() == datetime.now(when.tzinfo).date() else f"{when:%d %b} "
        return f"Saved {day}{when:%H:%M}: {_contents(saved)}."

    def restore(self) -> RunSettings | None:
        """Bring the saved session back, and go on saving it; returns its settings.

        Without a labels layer one is made. Where it holds other labels than were saved, it stays as it is, and a new
        one is made.
        """
        saved, project, bench = self.saved, self.bench.project, self.bench
        if saved is None or bench.view is None:
            return None
        with told("restoring the session"):
            elsewhere = ""
            if project is None:
                project = self._go_on_in_new_labels(bench.view.layer, ExampleSet())
            elif bench.planes is not None and saved.clashing(project):
                elsewhere = f", in a new layer: {bench.planes.layer.name} holds other labels"
                project = self._go_on_in_new_labels(bench.view.layer, project.examples)
            assert bench.planes is not None
            self.saved = None  # a new layer finds it again
            saved.restore_into(project)
            if project.autosave is None:
                project.autosave = Autosave(saved.folder, bench.view.stack, resumed=True, on_error=self.trouble.emit)
            if not project.autosave.resumed:  # work began anew, or the session is open elsewhere
                project.autosave.save_all(project)
            bench.planes.layer.refresh()
            bench.changed.emit("examples", -1)
            bench.changed.emit("confidence", -1)
            tell(f"Restored: {_contents(saved)}{elsewhere}.")
            return saved.settings
        return None

    def go_on(self) -> RunSettings | None:
        """Bring work back that was left in this viewer, if its labels are as they were; returns its settings."""
        project, bench = self.bench.project, self.bench
        if project is None or bench.view is None or bench.planes is None or bench.planes.layer not in bench.left:
            return None
        with suppress(InContextError):  # the session is gone, or about another image
            left = load_session(bench.left[bench.planes.layer], bench.view.stack)
            if left.agrees(project):
                self.saved = left
                return self.restore()
        return None

    def _go_on_in_new_labels(self, image: Image, examples: ExampleSet) -> Project:
        """Make a labels layer, and a project on it that has these examples."""
        self.bench.open(image, self.bench.make_labels(image))
        project = self.bench.ready()
        if examples.items:
            project.import_examples(examples)
        return project

    def _on_changed(self, topic: str, position: int) -> None:
        project, view = self.bench.project, self.bench.view
        if project is None or view is None or topic == "settings" or project is self._unsaved:
            return
        try:
            if project.autosave is None:
                self._begin_saving()
        except InContextError as error:  # told once, and work goes on unsaved
            self._unsaved = project
            tell_error(error, "saving the session")

    def _begin_saving(self) -> None:
        """Begin to save, with all that there is by now; an older session stays, and can still be restored."""
        project, view = self.bench.project, self.bench.view
        assert project is not None
        assert view is not None
        project.autosave = Autosave(
            autosave_folder(view.stack, self.image_path), view.stack, on_error=self.trouble.emit
        )
        project.autosave.save_all(project)

    # -- taking results away --------------------------------------------------------------------------------------
    def suggested_name(self, suffix: str) -> str:
        """A file name for what is made of this image, in its folder."""
        path, view = self.image_path, self.bench.view
        name = stem(path) if path is not None else view.stack.name if view is not None else "image"
        file = f"{name}{suffix}"
        return str(path.parent / file) if path is not None else file

    def export(self, name: str | Path) -> None:
        """Save the labels as OME-TIFF or OME-Zarr, with what made them; in a thread. What is there is replaced."""
        with told("saving the labels"):
            project, view, planes = self.bench.ready(), self.bench.view, self.bench.planes
            if view is None or planes is None or self.job.running:
                raise InputError("labels are being saved already: wait until that is done.")
            target = labels_file(name)
            check_apart(label_files(target), [self.image_path] if self.image_path is not None else [])
            self._target = target
            native = native_view(view.layer, self.bench.axes.get(view.layer))
            reader = LayerPlanes(planes.layer, native, lambda: None)
            record = {
                **self.bench.provenance,
                "settings": project.settings.as_dict(),
                "annotated": sorted(project.annotated),
                "verified": sorted(project.verified),
                "class_names": {str(i): n for i, n in project.examples.class_names.items()},
            }
            run = Export(target, native.stack, reader.read, record)
            self.job.start(lambda *_: run, f"Saving {target.name}")

    def _on_exported(self, outcome: str) -> None:
        if outcome == "done":
            tell(f"Saved {self._target}.")
            self.exported.emit(str(self._target))

    def save_key(self, name: str) -> None:
        """Save what the last tuning learned."""
        with told("saving the key"):
            if self.bench.learned is None:
                raise InputError("no tuning has learned anything yet: tick Tune, and run.")
            file = self.bench.learned.save(name, overwrite=True)  # the file dialog has asked
            tell(f"Saved {file.name}.")

    def command(self, examples: str | Path) -> str | None:
        """The command that repeats the run without napari; the examples are saved in the file that it names."""
        with told("making the command"):
            project, image = self.bench.ready(), self.image_path
            if image is None:
                raise InputError("the image comes from no file that a command could name: save it, and open that.")
            out = Path(self.suggested_name("_labels.ome.tif"))
            words = project.command_line(image, Path(examples), out)
            lost = len(project.not_repeated)
            by_hand = (
                f" What you painted by hand in {counted(lost, 'slice')} is not in its result: verify what is right, "
                "run again, and copy the command anew."
            )
            tell("The command is on the clipboard." + by_hand * bool(lost))
            return words
        return None


def labels_file(name: str | Path, chosen: str = "") -> Path:
    """The file that labels are saved in.

    Parameters
    ----------
    name
        What a person chose.
    chosen
        The format as the file dialog names it: that it is OME-Zarr goes before the name's suffix.
    """
    path, suffix = Path(name), Path(name).suffix.lower()
    if "Zarr" in chosen and suffix != ".zarr":
        return path.with_name((stem(path) if suffix in (".tif", ".tiff") else path.name) + ".zarr")
    return path if suffix in (".tif", ".tiff", ".zarr") else path.with_name(f"{path.name}.ome.tif")


class Export:
    """A run of a `Job` that writes labels plane by plane; the file appears when all are written."""

    def __init__(
        self, target: Path, like: Stack, read: Callable[[int], NDArray[Any]], provenance: dict[str, Any]
    ) -> None:
        self._target, self._like, self._read, self._provenance = target, like, read, provenance

    def __len__(self) -> int:
        return len(self._like)

    def __iter__(self) -> Iterator[int]:
        with LabelWriter(self._target, self._like, overwrite=True, provenance=self._provenance) as writer:
            for position in range(len(self._like)):
                writer.write(position, np.asarray(self._read(position)))
                yield position


def _contents(saved: SavedSession) -> str:
    return f"{counted(len(saved.examples), 'example')}, {counted(len(saved.painted), 'slice')} with labels"
