"""Runs that are killed at any moment are resumed, and come out as if they had not been."""

import json
import multiprocessing
import os
import random
import sys
import time

import numpy as np
import pytest
import tifffile
from fakes import ThresholdPredictor
from long_run import long_run

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.infer.propagate import propagate
from napari_incontext_seg.io.unfinished import Unfinished, kept_key
from napari_incontext_seg.session.job import run_to_file

# processes that have all modules loaded when they begin, where the system can do that
PROCESSES = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
PROCESSES.set_forkserver_preload(["napari_incontext_seg.session.job"])


def start(*arguments):
    process = PROCESSES.Process(target=long_run, args=arguments)
    process.start()
    return process


def outcome(process):
    process.join()
    return process.exitcode


def files(folder, name):
    """What a run has written, but for when that was, and for its own name."""
    stem, suffix = name.split(".")
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.relative_to(folder).parts[0].startswith((f"{stem}.", f"{stem}_")):
            found[str(file.relative_to(folder)).replace(stem, "out", 1)] = file.read_bytes()
    record = f"out.{'json' if suffix == 'tif' else 'zarr/zarr.json'}"
    text = found[record].decode()
    whole = json.loads(text)
    date = (whole if suffix == "tif" else whole["attributes"]["napari-incontext-seg"])["date"]
    for coding in ("utf-8", "utf-16-le"):  # the latter in ImageJ's files
        found = {file: content.replace(date.encode(coding), b"") for file, content in found.items()}
    return found


def written(folder, out):
    return len(list(folder.glob(f".{out.split('.')[0]}-*.partial/spool/labels/c.*.0.0")))


@pytest.mark.parametrize(
    ("suffix", "memory", "kind"), [("tif", 0, "semantic"), ("zarr", 2, "semantic"), ("tif", 2, "instance")]
)
def test_a_run_that_is_killed_at_any_moment_is_resumed(tmp_path, suffix, memory, kind):
    out, whole = f"again.{suffix}", start(tmp_path, f"whole.{suffix}", memory, kind)
    chance, kept = random.Random(f"{suffix}{memory}{kind}"), 0
    for _ in range(3):
        process = start(tmp_path, out, memory, kind)
        while written(tmp_path, out) <= kept and process.is_alive():
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.06))
        process.kill()
        if outcome(process) == 0:
            break
        assert written(tmp_path, out) >= kept  # what was finished stays so
        kept = written(tmp_path, out)
    assert outcome(start(tmp_path, out, memory, kind)) == 0
    assert outcome(whole) == 0

    assert files(tmp_path, out) == files(tmp_path, f"whole.{suffix}")
    assert len(files(tmp_path, out)) > 3
    assert not list(tmp_path.glob(".*.partial"))


def test_a_run_that_is_killed_while_its_files_are_put_into_place_is_resumed(tmp_path):
    assert outcome(start(tmp_path, "again.tif", 0, "semantic", True)) == 9
    assert (tmp_path / "again.tif").exists()
    assert not (tmp_path / "again.json").exists()
    for out in ("again.tif", "whole.tif"):
        assert outcome(start(tmp_path, out, 0, "semantic")) == 0
    assert files(tmp_path, "again.tif") == files(tmp_path, "whole.tif")


# -- in this process --------------------------------------------------------------------------------------------------
def stack(**changes):
    data = np.zeros((6, 20, 16), np.uint8)
    for z in range(6):
        data[z, 3:9, z : z + 6] = 250
    for position, value in changes.items():
        data[int(position[1:])] += np.uint8(value)
    return Stack(data, "zyx")


def labels():
    return (stack().data[0] > 0).astype(np.uint8) * 2


class Killed(BaseException):
    """Nothing of ours is cleaned up after this, as after SIGKILL."""


def cut(out, monkeypatch, run=None, **options):
    """A run that is killed after slice 2."""

    def stop(step):
        if step.position == 2:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(
            "napari_incontext_seg.io.labels.LabelWriter.__exit__", lambda self, *_: self._unfinished.release()
        )
        with pytest.raises(Killed):
            run_to_file(run or propagate(stack(), {0: labels()}, ThresholdPredictor()), out, on_step=stop, **options)


def painting(seen):
    """A predictor that notes how many slices it paints."""
    predictor = ThresholdPredictor()
    bind = predictor.bind

    def noted(context):
        segment = bind(context)
        return lambda plane: (seen.append(1), segment(plane))[1]

    predictor.bind = noted
    return predictor


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_finished_slices_are_not_painted_again_and_told_all_the_same(tmp_path, monkeypatch, name):
    cut(tmp_path / name, monkeypatch)
    seen = []
    told = []
    report = run_to_file(
        propagate(stack(), {0: labels()}, painting(seen)), tmp_path / name, resume=True,
        on_step=lambda step: told.append(step.position),
    )  # fmt: skip
    assert (len(seen), told) == (3, list(range(6)))
    whole = run_to_file(propagate(stack(), {0: labels()}, ThresholdPredictor()), tmp_path / f"whole-{name}")
    assert report.confidence == whole.confidence


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_a_run_that_was_interrupted_goes_on_from_its_output(tmp_path, name):
    def stop(step):
        if step.position == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_file(propagate(stack(), {0: labels()}, ThresholdPredictor()), tmp_path / name, on_step=stop)
    seen = []
    report = run_to_file(propagate(stack(), {0: labels()}, painting(seen)), tmp_path / name, resume=True)
    assert (report.complete, report.finished, len(seen)) == (True, 6, 3)
    again = run_to_file(propagate(stack(), {0: labels()}, painting(seen)), tmp_path / name, resume=True)
    assert (again.complete, again.finished, len(seen)) == (True, 0, 3)  # it was finished
    with pytest.raises(InputError, match=r"made by another run: memory was null, and is 3"):
        run_to_file(
            propagate(stack(), {0: labels()}, painting(seen)), tmp_path / name, resume=True, settings={"memory": 3}
        )


@pytest.mark.parametrize("memory", [0, 2])
def test_a_run_from_both_sides_goes_on_and_comes_out_as_in_one_go(tmp_path, memory):
    def meeting():
        given = {0: labels(), 5: (labels() > 0) * 9}
        return propagate(stack(), given, ThresholdPredictor(), direction="meet", memory=memory)

    def stop(step):
        if step.position == 3:
            raise KeyboardInterrupt

    run_to_file(meeting(), tmp_path / "whole.tif")
    with pytest.raises(KeyboardInterrupt):
        run_to_file(meeting(), tmp_path / "out.tif", on_step=stop)
    with pytest.raises(InputError, match="made by another run"):
        run_to_file(
            propagate(stack(), {0: labels(), 5: (labels() > 0) * 9}, ThresholdPredictor(), memory=memory),
            tmp_path / "out.tif",
            resume=True,
        )
    assert run_to_file(meeting(), tmp_path / "out.tif", resume=True).complete
    for part in ("", "_confidence"):
        found, expected = (tifffile.imread(tmp_path / f"{stem}{part}.tif") for stem in ("out", "whole"))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("image", "annotated", "options", "message"),
    [
        (stack(z4=1), labels(), {}, "the image is not the same"),
        (stack(), labels() + 1, {}, "the examples are not the same"),
        (stack(), labels(), {"settings": {"quality": "best"}}, 'quality was "fast", and is "best"'),
        (stack(), labels(), {"given": {5: labels().astype(np.uint32)}}, "the slices that are given are not the same"),
    ],
)
def test_another_run_is_not_resumed(tmp_path, monkeypatch, image, annotated, options, message):
    settings = {"quality": "fast"}
    cut(tmp_path / "out.tif", monkeypatch, settings=settings)
    run = propagate(image, {0: annotated}, ThresholdPredictor())
    with pytest.raises(InputError, match=message):
        run_to_file(run, tmp_path / "out.tif", resume=True, **{"settings": settings, **options})


def test_another_model_or_route_is_not_resumed(tmp_path, monkeypatch):
    cut(tmp_path / "out.tif", monkeypatch)
    other = ThresholdPredictor()
    other.digest = "1"
    with pytest.raises(InputError, match="the model is not the same"):
        run_to_file(propagate(stack(), {0: labels()}, other), tmp_path / "out.tif", resume=True)
    with pytest.raises(InputError, match="the slices to paint are not the same"):
        run_to_file(
            propagate(stack(), {0: labels()}, ThresholdPredictor(), span=(0, 4)), tmp_path / "out.tif", resume=True
        )


def test_a_new_run_does_not_begin_over_one_that_was_cut_short_unless_told(tmp_path, monkeypatch):
    out = tmp_path / "out.tif"
    cut(out, monkeypatch)
    with pytest.raises(FileError, match=r"cut short, and has finished 3 slices: go on with --resume"):
        run_to_file(propagate(stack(), {0: labels()}, ThresholdPredictor()), out)
    assert run_to_file(propagate(stack(), {0: labels()}, ThresholdPredictor()), out, overwrite=True).complete
    assert not list(tmp_path.glob(".*.partial"))


def test_two_runs_do_not_write_to_one_output(tmp_path, monkeypatch):
    out = tmp_path / "out.tif"
    cut(out, monkeypatch)
    folder = next(tmp_path.glob(".out-*.partial"))
    identity = json.loads((folder / "identity.json").read_text())["identity"]
    other = Unfinished.found(out, identity)
    with pytest.raises(FileError, match="is being made already"):
        run_to_file(propagate(stack(), {0: labels()}, ThresholdPredictor()), out, resume=True)
    other.release()
    assert run_to_file(propagate(stack(), {0: labels()}, ThresholdPredictor()), out, resume=True).complete


def test_slices_that_a_crash_of_the_machine_has_damaged_are_painted_again(tmp_path, monkeypatch):
    out = tmp_path / "out.tif"
    cut(out, monkeypatch)
    chunk = next(tmp_path.glob(".out-*.partial/spool/labels/c.1.0.0"))
    os.truncate(chunk, 5)
    seen = []
    assert run_to_file(propagate(stack(), {0: labels()}, painting(seen)), out, resume=True).complete
    assert len(seen) == 4


def test_an_approximate_run_is_not_resumed(tmp_path, monkeypatch):
    cut(tmp_path / "out.tif", monkeypatch)
    predictor = ThresholdPredictor()
    predictor.approximate = True
    with pytest.raises(InputError, match="cannot be resumed"):
        run_to_file(propagate(stack(), {0: labels()}, predictor), tmp_path / "out.tif", resume=True)


class Learned:
    """What a tuning has learned."""

    def save(self, path, *, overwrite):
        path.write_text("learned")


def test_what_a_tuning_has_learned_is_kept_until_the_run_is_finished(tmp_path, monkeypatch):
    out = tmp_path / "out.tif"
    cut(out, monkeypatch, key=Learned())
    assert kept_key(out).read_text() == "learned"

    def interrupted(step):
        if step.position == 4:
            raise KeyboardInterrupt

    run = propagate(stack(), {0: labels()}, ThresholdPredictor())
    with pytest.raises(KeyboardInterrupt):
        run_to_file(run, out, resume=True, key=Learned(), on_step=interrupted)
    assert kept_key(out).read_text() == "learned"
    assert run_to_file(run, out, resume=True, key=Learned()).complete
    assert kept_key(out) is None
