"""A run in a thread: its slices come one by one, it can be cancelled, and it may outlive what started it."""

import os
import subprocess
import sys
import threading

import pytest
from napari.utils import progress

from napari_incontext_seg._napari.job import AHEAD, Job


class Counting:
    """A run of ``count`` slices that notes how far it came; it waits at slice ``pause`` until told to go on."""

    def __init__(self, count, pause=None):
        self.count, self.pause, self.made = count, pause, 0
        self.go_on, self.reached, self.closed = threading.Event(), threading.Event(), False

    def __len__(self):
        return self.count

    def __iter__(self):
        try:
            for i in range(self.count):
                if i == self.pause:
                    self.reached.set()
                    assert self.go_on.wait(10)
                self.made = i + 1
                yield i * 10
        finally:
            self.closed = True


@pytest.fixture
def job(qtbot):
    return Job()


def watch(job):
    seen = {"steps": [], "progress": [], "ended": [], "failed": []}
    job.stepped.connect(seen["steps"].append)
    job.progressed.connect(lambda *a: seen["progress"].append(a))
    job.ended.connect(seen["ended"].append)
    job.failed.connect(seen["failed"].append)
    return seen


def test_slices_come_one_by_one_on_the_main_thread(job, qtbot):
    run, seen, threads = Counting(4), watch(job), []
    job.stepped.connect(lambda _: threads.append(threading.current_thread()))
    with qtbot.waitSignal(job.ended, timeout=5000):
        job.start(lambda stop, say, share: run, "test")
    assert seen["steps"] == [0, 10, 20, 30]
    assert [done for done, _, _ in seen["progress"]] == [0, 1, 2, 3, 4]
    assert set(threads) == {threading.main_thread()}
    assert seen["ended"] == ["done"]
    assert not job.running


def test_time_left_is_told_after_the_first_slice(job, qtbot):
    seen = watch(job)
    with qtbot.waitSignal(job.ended, timeout=5000):
        job.start(lambda *_: Counting(3), "test")
    lefts = [left for _, _, left in seen["progress"]]
    assert lefts[0] < 0
    assert lefts[-1] == 0


def test_the_activity_dock_has_a_bar_while_it_runs(job, qtbot):
    run = Counting(3, pause=1)
    job.start(lambda *_: run, "In-context segmentation")
    qtbot.waitUntil(lambda: run.reached.is_set())
    qtbot.waitUntil(lambda: any(bar.total == 3 and bar.n == 1 for bar in progress._all_instances))
    with qtbot.waitSignal(job.ended, timeout=5000):
        run.go_on.set()
    assert not progress._all_instances


def test_cancel_stops_after_the_slice_that_is_being_painted(job, qtbot):
    run, seen = Counting(100, pause=2), watch(job)
    job.start(lambda *_: run, "test")
    qtbot.waitUntil(lambda: len(seen["steps"]) == 2)
    qtbot.waitUntil(lambda: run.reached.is_set())
    job.cancel()
    assert job.running
    with qtbot.waitSignal(job.ended, timeout=5000):
        run.go_on.set()
    assert seen["ended"] == ["cancelled"]
    assert seen["steps"] == [0, 10]
    assert run.closed


def test_an_error_ends_the_run_and_is_told(job, qtbot):
    seen = watch(job)

    def prepare(stop, say, share):
        raise ValueError("no such thing")

    with qtbot.waitSignal(job.ended, timeout=5000):
        job.start(prepare, "test")
    assert seen["ended"] == ["failed"]
    assert str(seen["failed"][0]) == "no such thing"


def test_while_a_brush_is_down_slices_wait_and_few_are_painted_ahead(job, qtbot):
    run, seen = Counting(50), watch(job)
    job.hold(True)
    job.start(lambda *_: run, "test")
    qtbot.waitUntil(lambda: run.made > AHEAD)
    qtbot.wait(100)
    assert seen["steps"] == []
    assert run.made == AHEAD + 1
    with qtbot.waitSignal(job.ended, timeout=5000):
        job.hold(False)
    assert len(seen["steps"]) == 50


def test_slices_that_wait_when_the_thread_is_done_are_not_lost(job, qtbot):
    run, seen = Counting(2), watch(job)
    job.hold(True)
    job.start(lambda *_: run, "test")
    qtbot.waitUntil(lambda: run.closed)
    qtbot.wait(50)
    assert job.running
    job.hold(False)
    assert seen["steps"] == [0, 10]
    assert seen["ended"] == ["done"]


def test_a_run_stops_when_its_widget_is_gone(qtbot):
    job, run = Job(), Counting(1000, pause=1)
    job.start(lambda *_: run, "test")
    qtbot.waitUntil(lambda: run.reached.is_set())
    job.deleteLater()
    qtbot.wait(20)
    run.go_on.set()
    qtbot.waitUntil(lambda: run.closed)
    assert run.made < 10
    for bar in list(progress._all_instances):
        bar.close()


def test_sentences_and_shares_of_the_preparation_reach_the_main_thread(job, qtbot):
    said, shares = [], []
    job.said.connect(said.append)
    job.shared.connect(shares.append)

    def prepare(stop, say, share):
        say("loading")
        share(0.5)
        return Counting(1)

    with qtbot.waitSignal(job.ended, timeout=5000):
        job.start(prepare, "test")
    assert said == ["loading"]
    assert shares == [0.5]


def test_without_cuda_torch_learns_without_triton_which_ends_napari_beside_mesa():
    code = """if True:
        import sys
        from napari_incontext_seg._napari.responsive import load_torch
        load_torch()
        import torch
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = torch.optim.AdamW([weight], lr=0.1)
        weight.sum().backward()
        optimizer.step()
        assert (weight < 1).all()
        assert sys.modules["triton"] is None, sys.modules["triton"]
    """
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
