"""Many files painted alike."""

import json

import numpy as np
import pytest
import tifffile
from fakes import ThresholdPredictor
from PIL import Image

from napari_incontext_seg.core.example_set import ExampleItem, ExampleSet
from napari_incontext_seg.core.types import Example
from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.infer.model_choice import ModelChoice
from napari_incontext_seg.io import provenance
from napari_incontext_seg.io.example_sets import save_examples
from napari_incontext_seg.io.labels import LabelWriter
from napari_incontext_seg.io.stacks import open_labels, open_stack
from napari_incontext_seg.session.batch import BatchPlan, batch_jobs, run_batch
from napari_incontext_seg.session.settings import RunSettings, load_settings


class Stopping(ThresholdPredictor):
    """Somebody presses Ctrl-C at the first plane that is bright throughout."""

    def bind(self, context):
        segment = super().bind(context)

        def segment_until_stopped(plane):
            if plane.mean() > 0.9:
                raise KeyboardInterrupt
            return segment(plane)

        return segment_until_stopped


@pytest.fixture
def data(tmp_path):
    """Stacks in two folders, one of them damaged, and an example of another image."""
    noise = np.random.default_rng(0)
    for name in ("one/a", "one/b", "two/a"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "data" / f"{name}.tif", noise.integers(0, 255, (5, 12, 10), np.uint8))
    (tmp_path / "data" / "two" / "broken.tif").write_bytes(b"II*\0 this is no image")
    plane = noise.random((12, 10, 1), np.float32)
    item = ExampleItem(Example(plane, (plane[..., 0] > 0.5) * 4), "elsewhere")
    save_examples(tmp_path / "set.incontext", ExampleSet((item,), "semantic", {4: "bright"}))
    return tmp_path


def write(path, image):
    tifffile.imwrite(path, image, photometric="minisblack")


def plan(folder, **values):
    return BatchPlan(folder / "set.incontext", ThresholdPredictor, **values)


def run(folder, **values):
    return run_batch([folder / "data" / "*" / "*.tif"], folder / "out", plan(folder, **values))


def test_one_result_a_file_and_a_failure_keeps_nobody_waiting(data):
    seen = []
    report = run_batch([data / "data" / "*" / "*.tif"], data / "out", plan(data), on_file=seen.append)
    assert (
        [outcome.status for outcome in report.outcomes]
        == ["done", "done", "done", "failed"]
        == [outcome.status for outcome in seen]
    )
    for name in ("one/a", "one/b", "two/a"):
        stack = open_stack(data / "data" / f"{name}.tif").normalized()
        labels = open_labels(data / "out" / f"{name}.tif").data[:]
        np.testing.assert_array_equal(labels, [(stack.plane(p)[..., 0] > 0.5) * 4 for p in range(5)])
    [failed] = report.failed
    assert failed.image.endswith("broken.tif")
    assert "cannot be read as TIFF" in failed.reason


def test_the_summary_tells_what_to_look_at_first(data):
    grey = np.full((5, 12, 10), 128, np.uint8)  # neither bright nor dark, but for a row of each
    grey[:, 0], grey[:, 1] = 0, 255
    write(data / "data" / "one" / "b.tif", grey)
    report = run(data)
    ranked = [outcome.image for outcome in report.least_sure]
    assert len(ranked) == 3
    assert ranked[0] == str(data / "data" / "one" / "b.tif")
    kept = json.loads((data / "out" / "summary.json").read_text())
    assert kept["least_sure"] == ranked
    assert (kept["done"], kept["failed"]) == (3, 1)
    assert kept["files"][0]["slices"] == 5
    lines = (data / "out" / "summary.csv").read_text().splitlines()
    assert lines[0].startswith("image,out,status,reason,slices,annotated,seconds,confidence,least_sure")
    assert len(lines) == 5


def test_earlier_results_are_refused_skipped_or_replaced(data):
    first = run(data)
    before = (data / "out" / "one" / "a.tif").stat().st_mtime_ns
    with pytest.raises(FileError, match="use --resume to skip"):
        run(data)
    again = run(data, earlier="skip")
    assert [outcome.status for outcome in again.outcomes] == ["skipped", "skipped", "skipped", "failed"]
    assert again.outcomes[0].confidence == first.outcomes[0].confidence  # still in the table
    assert (data / "out" / "one" / "a.tif").stat().st_mtime_ns == before
    assert [outcome.status for outcome in run(data, earlier="replace").outcomes[:3]] == ["done"] * 3


def test_the_result_of_another_image_is_not_taken_for_finished(data):
    run(data)
    write(data / "data" / "one" / "a.tif", np.random.default_rng(9).integers(0, 255, (5, 12, 10), np.uint8))
    outcomes = run(data, earlier="skip").outcomes
    assert [outcome.status for outcome in outcomes] == ["failed", "skipped", "skipped", "failed"]
    assert "made with another image: replace it (--overwrite)" in outcomes[0].reason


def test_labels_that_no_batch_made_are_not_replaced_when_it_goes_on(data):
    (data / "out" / "one").mkdir(parents=True)
    write(data / "out" / "one" / "a.tif", np.full((5, 12, 10), 7, np.uint8))
    outcomes = run(data, earlier="skip").outcomes
    assert [outcome.status for outcome in outcomes] == ["failed", "done", "done", "failed"]
    assert "exists" in outcomes[0].reason
    assert (open_labels(data / "out" / "one" / "a.tif").data[:] == 7).all()


def test_a_result_that_was_deleted_is_made_again(data):
    run(data, picture=True)
    (data / "out" / "one" / "a.tif").unlink()
    outcomes = run(data, picture=True, earlier="skip").outcomes
    assert [outcome.status for outcome in outcomes] == ["done", "skipped", "skipped", "failed"]


def test_pictures_are_never_written_over_an_input_or_what_others_made(data):
    (data / "grey").mkdir()
    for name in "ab":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 10), np.uint8)).save(
            data / "grey" / f"{name}.png"
        )
    with pytest.raises(FileError, match=r"a.png is an input, which is never written over"):
        run_batch([data / "grey" / "*.png"], data / "grey", plan(data, picture=True))
    (data / "out").mkdir()
    (data / "out" / "b.png").write_text("a figure")
    with pytest.raises(FileError, match=r"b.png exists"):
        run_batch([data / "grey"], data / "out", plan(data, picture=True))
    outcomes = run_batch([data / "grey"], data / "out", plan(data, picture=True, earlier="skip")).outcomes
    assert [outcome.status for outcome in outcomes] == ["done", "failed"]
    assert (data / "out" / "b.png").read_text() == "a figure"


def test_the_summary_keeps_what_earlier_batches_have_made_of_other_files(data):
    first = run(data)
    (data / "out" / "one" / "b.tif").unlink()
    report = run_batch([data / "data" / "*" / "a.tif"], data / "out", plan(data, earlier="skip"))
    assert [outcome.status for outcome in report.outcomes] == ["skipped", "skipped"]
    run_batch([data / "data" / "t*" / "a.tif"], data / "out", plan(data, earlier="replace"))
    files = json.loads((data / "out" / "summary.json").read_text())["files"]
    assert [(f["image"], f["status"]) for f in files] == [
        (str(data / "data" / "two" / "a.tif"), "done"),
        (str(data / "data" / "one" / "a.tif"), "skipped"),
    ]
    assert [f["confidence"] for f in files] == [first.outcomes[k].confidence for k in (2, 0)]
    assert len((data / "out" / "summary.csv").read_text().splitlines()) == 3


def test_what_was_made_in_another_way_is_not_taken_for_finished(data):
    run(data)
    outcome = run(data, earlier="skip", memory=2).outcomes[0]
    assert outcome.status == "failed"
    assert "made with another settings: replace it (--overwrite)" in outcome.reason


def test_what_another_version_made_is_not_taken_for_finished(data, monkeypatch):
    run(data)
    monkeypatch.setattr(provenance, "version", lambda name: "99.0")
    outcome = run(data, earlier="skip").outcomes[0]
    assert outcome.status == "failed"
    assert "made with another version: replace it (--overwrite)" in outcome.reason


def test_a_batch_that_was_stopped_goes_on(data):
    write(
        data / "data" / "one" / "b.tif", np.concatenate([np.full((4, 12, 10), 250), np.zeros((1, 12, 10))]).astype("u1")
    )
    with pytest.raises(KeyboardInterrupt) as stopped:
        run_batch([data / "data" / "*" / "*.tif"], data / "out", BatchPlan(data / "set.incontext", Stopping))
    assert "1 of 4 files are painted; --resume goes on" in stopped.value.__notes__[-1]
    assert [f["status"] for f in json.loads((data / "out" / "summary.json").read_text())["files"]] == ["done"]
    report = run(data, earlier="skip")
    assert [outcome.status for outcome in report.outcomes] == ["skipped", "done", "done", "failed"]


def test_slices_of_the_set_itself_come_out_as_they_are(data):
    stack = open_stack(data / "data" / "one" / "a.tif").normalized()
    labels = np.zeros((12, 10), np.uint32)
    labels[2:4] = 9
    items = [
        ExampleItem(Example(stack.plane(p), labels), f"slice {p}", "a", p, (p,), used=used)
        for p, used in ((1, True), (3, False))
    ]
    save_examples(data / "set.incontext", ExampleSet(tuple(items)), overwrite=True)
    outcome = run(data).outcomes[0]
    assert outcome.annotated == 2
    painted = open_labels(data / "out" / "one" / "a.tif").data[:]
    np.testing.assert_array_equal(painted[1], labels)
    np.testing.assert_array_equal(painted[3], labels)
    assert set(np.unique(painted)) == {0, 9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"examples": None}, "an example set .* or a key"),
        ({"examples": "missing.incontext"}, "missing.incontext does not exist"),
    ],
)
def test_what_a_batch_lacks_is_told_before_anything_is_painted(data, change, message):
    with pytest.raises((FileError, InputError), match=message):
        batch_jobs([data / "data" / "one"], data / "out", BatchPlan(load=ThresholdPredictor, **change))
    assert not (data / "out").exists()


def test_settings_of_a_run_in_napari_can_be_used(data):
    settings = RunSettings("guess", quality="fast", memory=3, along="z", where="range", span=(0, 3))
    (data / "walls.json").write_text(json.dumps({"model": "guess", "settings": settings.as_dict()}))
    made = BatchPlan.from_settings(load_settings(data / "walls.json"), data / "set.incontext")
    assert made.load == ModelChoice("guess", quality="fast")
    assert (made.memory, made.along, made.kind) == (3, "z", "semantic")
    with pytest.raises(InputError, match="tune once"):
        BatchPlan.from_settings(RunSettings(tune_seconds=9.0))
    (data / "other.json").write_text('{"settings": {"recolour": 3}}')
    with pytest.raises(InputError, match=r"no settings of a run in napari .there is no setting recolour"):
        load_settings(data / "other.json")
    (data / "line.json").write_text('{"settings": {"recolour": null, "axes": null}}')
    with pytest.raises(InputError, match=r"line.json was made by the command line, not saved by napari: give the opti"):
        load_settings(data / "line.json")


class Counting(ThresholdPredictor):
    """Notes how many planes were painted by any of it."""

    painted = 0

    def bind(self, context):
        segment = super().bind(context)

        def segment_counted(plane):
            Counting.painted += 1
            return segment(plane)

        return segment_counted


def test_a_file_that_was_being_painted_when_the_batch_was_killed_goes_on(data, monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (5, 12, 10), np.uint8)
    image[3] = 255
    write(data / "stack.tif", image)
    with monkeypatch.context() as patched:
        patched.setattr(LabelWriter, "__exit__", lambda self, *_: self._unfinished.release())
        with pytest.raises(KeyboardInterrupt):
            run_batch([data / "stack.tif"], data / "out", BatchPlan(data / "set.incontext", Stopping))
    assert not (data / "out" / "stack.tif").exists()
    report = run_batch([data / "stack.tif"], data / "out", BatchPlan(data / "set.incontext", Counting, earlier="skip"))
    assert [outcome.status for outcome in report.outcomes] == ["done"]
    assert Counting.painted == 2
    whole = run_batch([data / "stack.tif"], data / "whole", BatchPlan(data / "set.incontext", Counting))
    assert not whole.failed
    for name in ("stack.tif", "stack_confidence.tif"):
        np.testing.assert_array_equal(
            open_stack(data / "out" / name).data[:], open_stack(data / "whole" / name).data[:]
        )
