"""File > IO Utilities: open example sets as layers."""

from __future__ import annotations

from ..core.example_set import SUFFIX
from .notices import tell, told

PLUGIN = "napari-incontext-seg"


def open_examples() -> None:
    """Ask for files, and open them in the viewer; the same as dropping them on it."""
    import napari
    from qtpy.QtWidgets import QApplication, QFileDialog

    viewer = napari.current_viewer()
    if viewer is None:
        tell("Open a viewer first.")
        return
    files, _ = QFileDialog.getOpenFileNames(
        QApplication.activeWindow(), "Open example sets", "", f"Example sets (*{SUFFIX})"
    )
    for file in files:
        with told("opening an example set"):
            viewer.open(file, plugin=PLUGIN)
