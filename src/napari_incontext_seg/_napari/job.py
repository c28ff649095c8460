"""`Job`: a run in a thread of its own, whose finished slices come to the main thread one by one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from napari.qt.threading import create_worker
from napari.utils import progress
from qtpy.QtCore import QObject, Signal

from ..errors import DegradedDataWarning
from .responsive import small_collections

AHEAD = 3  # finished slices that may wait for the main thread: bounds memory


class Run(Protocol):
    """What a job runs through: `infer.propagate.Propagation`, or anything with a length that yields steps."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True)
class _Length:
    """The first that a run's thread yields: how many slices there will be."""

    slices: int


@dataclass(frozen=True)
class _Failure:
    """The last that a run's thread yields if something went wrong."""

    error: Exception


class Stop:
    """Tells a thread to stop. It holds no widget, so it may outlive all of them."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._room = threading.Semaphore(AHEAD)

    def __call__(self) -> bool:
        """Whether the thread is to stop."""
        return self._asked.is_set()

    def ask(self, *_: object) -> None:
        """Ask the thread to stop; it does so after the slice that it is at."""
        self._asked.set()
        self._room.release()

    def taken(self) -> None:
        """Say that the main thread has taken a slice."""
        self._room.release()

    def wait_for_room(self) -> None:
        """Wait, in the thread, until few slices are waiting."""
        self._room.acquire()


Prepare = Callable[[Stop, Callable[[str], None], Callable[[float], None]], Run]


class Job(QObject):
    """One run at a time: started, told of by signals on the main thread, cancelled.

    ``stepped`` gives every finished slice, ``progressed`` how many of how many are done and the seconds left (below 0:
    not known yet), ``said`` a sentence about what is being done, ``warned`` one about the data, ``ended`` how it ended:
    done, cancelled or failed.
    """

    stepped = Signal(object)
    progressed = Signal(int, int, float)
    said = Signal(str)
    shared = Signal(float)
    failed = Signal(object)
    warned = Signal(str)
    ended = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop: Stop | None = None
        self._worker: Any = None
        self._bar: Any = None
        self._waiting: deque[Any] = deque()
        self._held = False
        self._total = self._done = 0
        self._began = 0.0
        self._outcome = "done"
        self.shared.connect(self._on_share)

    @property
    def running(self) -> bool:
        """Whether a run is under way; one that was cancelled is, until its thread has ended."""
        return self._stop is not None

    def start(self, prepare: Prepare, title: str) -> None:
        """Run in a thread what ``prepare``, called there too, makes: models are loaded and tuned in it.

        Parameters
        ----------
        prepare
            Takes a `Stop`, a function for sentences and one for the share (0 to 1) of the preparation that is done.
        title
            Shown in the activity dock.
        """
        assert not self.running
        self._stop = stop = Stop()
        self.destroyed.connect(stop.ask)  # the viewer was closed
        self._outcome, self._total, self._done = "done", 0, 0
        self._bar = progress(total=0, desc=title)
        self.destroyed.connect(partial(_close_bar, self._bar))
        self._worker = create_worker(
            _work, prepare, stop, _unless_gone(self.said), _unless_gone(self.shared), _start_thread=False,
            _ignore_errors=True,
        )  # fmt: skip
        self._worker.yielded.connect(self._on_yielded)
        self._worker.warned.connect(self._on_warned)
        self._worker.finished.connect(self._on_finished)
        self._worker.start()

    def cancel(self) -> None:
        """Stop after the slice that is being painted; what was finished stays."""
        if self._stop is not None:
            self._outcome = "cancelled"
            self._stop.ask()
            self._waiting.clear()
            if self._worker is None:
                self._close()

    def hold(self, held: bool) -> None:
        """Keep finished slices waiting, as while a person's brush is down; False: hand them out."""
        self._held = held
        while self._waiting and not self._held:
            self._hand_out(self._waiting.popleft())
        if not held and self._worker is None and self._bar is not None:
            self._close()

    # -- called on the main thread, by the thread's signals ---------------------------------------------------------
    def _on_share(self, share: float) -> None:
        if self._bar is not None and share > 0:
            self._bar.total = 100
            self._bar.update(max(0, round(100 * share) - self._bar.n))

    def _on_yielded(self, item: Any) -> None:
        if self._outcome == "cancelled":
            return
        if isinstance(item, _Length):
            self._total, self._began = item.slices, time.perf_counter()
            self._bar.reset(item.slices)
            self.progressed.emit(0, item.slices, -1.0)
        elif isinstance(item, _Failure):
            self._outcome = "failed"
            self.failed.emit(item.error)
        elif self._held:
            self._waiting.append(item)
        else:
            self._hand_out(item)

    def _hand_out(self, step: Any) -> None:
        if self._stop is not None:
            self._stop.taken()
        self._done += 1
        self.stepped.emit(step)
        if self._bar is not None:
            self._bar.update(1)
        left = (time.perf_counter() - self._began) / self._done * (self._total - self._done)
        self.progressed.emit(self._done, self._total, left)

    def _on_warned(self, warning: Any) -> None:
        """Show what is wrong with the data; what else warns is for developers."""
        if issubclass(warning[1], DegradedDataWarning):
            self.warned.emit(str(warning[0]))

    def _on_finished(self) -> None:
        self._worker = None
        if not self._waiting:
            self._close()

    def _close(self) -> None:
        _close_bar(self._bar)
        self._bar = self._stop = None
        self.ended.emit(self._outcome)


def _close_bar(bar: Any, *_: object) -> None:
    """Take a bar out of the activity dock, which may be gone."""
    with contextlib.suppress(RuntimeError, KeyError):
        bar.close()


def _work(
    prepare: Prepare, stop: Stop, say: Callable[[str], None], share: Callable[[float], None]
) -> Iterator[Any]:  # fmt: skip
    """Run in the thread: first yields how many slices there will be, then each; an error comes as a `_Failure`.

    It is not raised, because the worker takes a RuntimeError, which is what torch raises, for a widget that is gone.
    """
    with small_collections():
        try:
            run = prepare(stop, say, share)
            if stop():
                return
            yield _Length(len(run))
            with closing(_steps(run)) as steps:
                for step in steps:
                    if stop():
                        return
                    yield step
                    stop.wait_for_room()
                    if stop():
                        return
        except Exception as error:  # told on the main thread
            yield _Failure(error)


def _steps(run: Run) -> Generator[Any, None, None]:
    """The steps of a run, as a generator, which can be closed."""
    yield from run


def _unless_gone(signal: Any) -> Callable[[Any], None]:
    """A signal's emit that a thread can call when the widget was closed meanwhile."""

    def emit(value: Any) -> None:
        with contextlib.suppress(RuntimeError):
            signal.emit(value)

    return emit
