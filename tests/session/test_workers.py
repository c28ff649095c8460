"""Planes painted side by side, in processes of this machine: as one alone paints them, whatever happens to a worker."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fakes import ThresholdPredictor

from napari_incontext_seg.cli.main import main
from napari_incontext_seg.core.example_set import ExampleItem, ExampleSet
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.types import Example
from napari_incontext_seg.errors import FileError, InputError, ModelError
from napari_incontext_seg.infer.propagate import propagate
from napari_incontext_seg.io.example_sets import save_examples
from napari_incontext_seg.io.stacks import open_labels, open_stack
from napari_incontext_seg.session import workers as module
from napari_incontext_seg.session.batch import BatchPlan, run_batch
from napari_incontext_seg.session.job import run_to_file
from napari_incontext_seg.session.workers import Workers

pytest.importorskip("distributed")


class Unhurried(ThresholdPredictor):
    """Takes its time, so that a worker can be met at work."""

    def bind(self, context):
        segment = super().bind(context)

        def segment_slowly(plane):
            time.sleep(0.05)
            return segment(plane)

        return segment_slowly


class Failing(ThresholdPredictor):
    """Cannot paint planes that are bright throughout."""

    def bind(self, context):
        segment = super().bind(context)

        def segment_some(plane):
            if plane.min() > 0.6:
                raise FileError("this plane is damaged.")
            return segment(plane)

        return segment_some


@pytest.fixture(scope="module")
def two():
    with Workers(Unhurried, count=2) as workers:
        yield workers


@pytest.fixture(scope="module")
def address(two):
    return two.client.scheduler.address


@pytest.fixture
def image():
    return np.random.default_rng(0).random((2, 12, 20, 16), np.float32)


def run_on(image, *, memory=0, predictor=None):
    stack = Stack(image, "tzyx", (1, 2, 0.5, 0.5), ("second", "um", "um", "um"))
    given = {2: (image[0, 2] > 0.5) * 7, 20: (image[1, 8] > 0.6) * 3}
    return propagate(stack, given, predictor or ThresholdPredictor(), memory=memory)


def results(path):
    """Labels and confidence in a file."""
    confidence = path / "confidence" if path.suffix == ".zarr" else path.with_name(f"{path.stem}_confidence.tif")
    return open_labels(path).data[:], open_stack(confidence).data[:]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(results(one), results(other), strict=True))


@pytest.mark.parametrize(("memory", "out"), [(0, "out.zarr"), (2, "out.tif")])
def test_two_workers_paint_what_one_alone_paints(two, image, tmp_path, memory, out):
    alone, together = tmp_path / f"alone{out[3:]}", tmp_path / out
    expected = run_to_file(run_on(image, memory=memory), alone, picture=tmp_path / "alone.png")
    seen = []
    report = run_to_file(
        run_on(image, memory=memory), together, picture=tmp_path / "out.png", workers=two, on_step=seen.append
    )
    assert same(alone, together)
    assert sorted(step.position for step in seen) == list(range(24))
    assert report.complete
    assert report.annotated == expected.annotated == [2, 20]
    assert report.confidence == expected.confidence
    assert sorted(f.name for f in tmp_path.iterdir() if "partial" in f.name) == []


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(two, image, tmp_path):
    run_to_file(run_on(image, memory=1), tmp_path / "alone.tif")
    before = set(two.client.run(os.getpid).values())
    alive = set(before)

    def kill(step):
        if step.position > 6 and len(alive) == 2:
            os.kill(alive.pop(), signal.SIGKILL)

    report = run_to_file(run_on(image, memory=1), tmp_path / "out.tif", workers=two, on_step=kill)
    assert len(alive) == 1
    assert report.complete
    assert same(tmp_path / "alone.tif", tmp_path / "out.tif")
    two.client.wait_for_workers(2, timeout=30)
    assert len(set(two.client.run(os.getpid).values()) - before) == 1


def test_what_is_finished_is_kept_when_somebody_stops_it(address, image, tmp_path):
    def stop(step):
        if step.position == 5:
            raise KeyboardInterrupt

    with Workers(Unhurried, scheduler=address) as workers, pytest.raises(KeyboardInterrupt) as stopped:
        run_to_file(run_on(image, memory=1), tmp_path / "out.tif", workers=workers, on_step=stop)
    assert "The finished slices" in stopped.value.__notes__[0]
    painted = [bool(plane.any()) for plane in tifffile.imread(tmp_path / "out.tif").reshape(-1, 20, 16)]
    assert painted[5]
    assert not all(painted)
    assert sorted(f.name for f in tmp_path.iterdir() if "partial" in f.name) == []


def test_what_a_worker_cannot_do_is_told_as_if_there_were_none(address, image, tmp_path):
    image[1, 3] = 0.9
    with Workers(Failing, scheduler=address) as workers, pytest.raises(FileError, match="this plane is damaged"):
        run_to_file(run_on(image), tmp_path / "out.tif", workers=workers)


def test_a_worker_with_another_model_paints_nothing(address, image, tmp_path):
    other = ThresholdPredictor()
    other.digest = "something else"
    with Workers(Unhurried, scheduler=address) as workers, pytest.raises(ModelError, match="install the same version"):
        run_to_file(run_on(image, predictor=other), tmp_path / "out.tif", workers=workers)
    assert not (tmp_path / "out.tif").exists()


def test_files_of_a_batch_are_painted_side_by_side(address, image, tmp_path):
    (tmp_path / "data").mkdir()
    for name in "abc":
        np.save(tmp_path / "data" / f"{name}.npy", image[0] + ord(name) % 3)
    (tmp_path / "data" / "damaged.npy").touch()
    item = ExampleItem(Example(image[0, 0][..., None], image[0, 0] > 0.5), "elsewhere")
    plan = BatchPlan(save_examples(tmp_path / "set", ExampleSet((item,))), ThresholdPredictor)
    alone = run_batch([tmp_path / "data"], tmp_path / "alone", plan)
    with Workers(ThresholdPredictor, scheduler=address) as workers:
        report = run_batch([tmp_path / "data"], tmp_path / "out", plan, workers=workers)
    assert [o.status for o in report.outcomes] == ["done", "done", "done", "failed"]
    assert [o.confidence for o in report.outcomes] == [o.confidence for o in alone.outcomes]
    assert all(same(tmp_path / "alone" / f"{name}.tif", tmp_path / "out" / f"{name}.tif") for name in "abc")


def test_few_pieces_are_given_out_at_a_time(two, tmp_path):
    image = np.random.default_rng(0).random((60, 4, 4), np.float32)
    most = []
    run = propagate(Stack(image, "zyx"), {0: image[0] > 0.5}, ThresholdPredictor())
    run_to_file(run, tmp_path / "out.tif", workers=two, on_step=lambda _: most.append(len(two.client.futures)))
    assert max(most) <= 2 * module.AHEAD + 1


def test_without_the_extra_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(InputError, match=r'pip install "\.\[distributed\]"'),
        Workers(Failing, count=2),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch):
    monkeypatch.setattr(module, "CONNECT", 0.3)
    with (
        pytest.raises(InputError, match=r"no scheduler with workers answers at tcp://127.0.0.1:9 .*dask worker"),
        Workers(Failing, scheduler="tcp://127.0.0.1:9"),
    ):
        pass


# -- the command line -------------------------------------------------------------------------------------------------
@pytest.fixture
def job(image, tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", (image[0] * 255).astype(np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "labels.tif", (image[0, :1] > 0.5).astype(np.uint8), photometric="minisblack")
    return tmp_path


def command(folder: Path, out: str, *options: str) -> int:
    given = ["--labels", str(folder / "labels.tif"), "--annotated", "0", "--no-picture"]
    return main(["propagate", str(folder / "image.tif"), *given, "--out", str(folder / out), *options])


def test_a_cluster_is_one_option(address, job, monkeypatch):
    monkeypatch.setattr("napari_incontext_seg.cli.propagate.model_choice", lambda *_: Unhurried)
    assert command(job, "alone.zarr") == 0
    assert command(job, "out.zarr", "--scheduler", address) == 0
    assert same(job / "alone.zarr", job / "out.zarr")


def test_options_that_contradict_each_other_are_told(job, capsys):
    assert command(job, "out.tif", "--scheduler", "tcp://127.0.0.1:9", "--workers", "2") == 1
    assert "leave one out" in capsys.readouterr().err
    assert command(job, "out", "--workers", "2") == 1
    assert "incontext-seg batch" in capsys.readouterr().err
