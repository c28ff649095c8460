"""A viewer in which a widget or a thread that is left behind fails the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from qtpy.QtCore import QThreadPool


@pytest.fixture(autouse=True)
def _nothing_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[None]:
    """Fail for top-level widgets that outlive the viewer (napari checks), and for threads that do."""
    monkeypatch.setenv("NAPARI_STRICT_QT", "raise")
    monkeypatch.setenv("INCONTEXT_SEG_CACHE", str(tmp_path))  # no weights, no sessions of the person who runs the tests
    yield
    pool = QThreadPool.globalInstance()
    assert pool.waitForDone(5000), f"{pool.activeThreadCount()} threads are still at work"
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("incontext")]
    assert not left, f"left behind: {left}"


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()
