"""Questions before something is lost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qtpy.QtWidgets import QMessageBox, QWidget


def may_replace(parent: QWidget, title: str, files: Iterable[Path], given: Path) -> bool:
    """Whether none of ``files`` is there but ``given``, about which a file dialog has asked; else the user decides."""
    there = [str(file) for file in files if file.exists() and file != given]
    if not there:
        return True
    words = "These are there already, with what belongs to them. Replace them?\n\n" + "\n".join(there)
    return bool(QMessageBox.question(parent, title, words) == QMessageBox.StandardButton.Yes)
