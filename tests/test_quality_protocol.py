"""The protocol of `benchmarks/quality.py`, on sets made here."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fakes import ThresholdPredictor

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import quality

    monkeypatch.setattr(quality, "predictor", lambda method, *_: ThresholdPredictor())
    return quality


def write_set(folder, *, kind="timelapse", label_kind="tracked", frames=12, sizes=None):
    """A bright square that moves a pixel a frame."""
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"kind": kind, "label_kind": label_kind}))
    images, labels = [], []
    for t, (height, width) in enumerate(sizes or [(24, 30)] * frames):
        truth = np.zeros((height, width), np.uint16)
        truth[4:14, t : t + 10] = 5
        labels.append(truth)
        images.append((truth > 0).astype(np.uint8) * 200)
    for stem, planes in (("image", images), ("labels", labels)):
        if sizes is None:
            tifffile.imwrite(folder / f"{stem}.tif", np.stack(planes))
        else:
            for i, plane in enumerate(planes):
                tifffile.imwrite(folder / f"{stem}_{i:03d}.tif", plane)
    return folder


def test_up_to_eight_frames_are_scored_and_never_the_example(quality, tmp_path):
    read = quality.AnnotatedSet.read
    assert read(write_set(tmp_path / "long", frames=12)).scored == [1, 2, 4, 5, 7, 8, 10, 11]
    assert read(write_set(tmp_path / "short", frames=4)).scored == [1, 2, 3]


def test_objects_are_one_class_and_semantic_ids_are_their_own(quality, tmp_path):
    read = quality.AnnotatedSet.read
    tracked = read(write_set(tmp_path / "a"))
    assert (tracked.classes, tracked.predicted_kind) == ([1], "instance")
    semantic = read(write_set(tmp_path / "b", label_kind="semantic"))
    assert (semantic.classes, semantic.predicted_kind) == ([5], "semantic")


def test_dice_is_averaged_over_frames_and_then_over_classes(quality):
    empty, both = np.zeros((2, 2), int), np.array([[1, 1], [2, 2]])
    data = quality.AnnotatedSet("made", "stack", "semantic", [both] * 3, [both, both, empty])
    # class 1: half of frame 1 and, wrongly, one pixel of frame 2; class 2: all of frame 1, rightly nothing of frame 2
    mean, each = data.score({1: np.array([[1, 0], [2, 2]]), 2: np.array([[1, 0], [0, 0]])})
    assert mean == pytest.approx((2 / 3 / 2 + (1 + 1) / 2) / 2)
    assert each == pytest.approx([(2 / 3 + 1) / 2, 0.5])


@pytest.mark.parametrize(("kind", "label_kind"), [("stack", "semantic"), ("timelapse", "tracked")])
def test_a_predictor_that_is_right_scores_one(quality, tmp_path, kind, label_kind):
    data = quality.AnnotatedSet.read(write_set(tmp_path / "set", kind=kind, label_kind=label_kind))
    row = quality.measure("guess", data)
    assert row["dice"] == 1
    assert row["seconds_per_plane"] >= 0
    assert row["pixel_auroc"] is None  # nothing is wrong, so nothing can be found


def test_images_of_a_collection_may_differ_in_size_and_the_copy_is_resized(quality, tmp_path):
    data = quality.AnnotatedSet.read(
        write_set(tmp_path / "set", kind="collection", label_kind="instance", sizes=[(24, 30), (30, 24), (48, 60)])
    )
    assert quality.measure("guess", data)["dice"] == 1
    copied = quality.run("copy", data).predicted
    np.testing.assert_array_equal(copied[2], np.kron(data.truth[0], np.ones((2, 2), int)))


def test_the_random_forest_learns_the_example(quality, tmp_path):
    assert quality.measure("rf", quality.AnnotatedSet.read(write_set(tmp_path / "set", frames=3)))["dice"] > 0.9


def test_a_set_that_fails_scores_nothing_and_the_script_exits_with_1(quality, tmp_path, monkeypatch, capsys):
    write_set(tmp_path / "data" / "davis_good")
    write_set(tmp_path / "data" / "set_bad", kind="holiday")
    (write_set(tmp_path / "data" / "set_lost") / "image.tif").unlink()
    report = tmp_path / "report.json"
    monkeypatch.setattr(
        sys, "argv", ["quality.py", str(tmp_path / "data"), "--methods", "model,copy", "--json", str(report)]
    )
    assert quality.main() == 1
    rows = {(r["dataset"], r["method"]): r for r in json.loads(report.read_text())["rows"]}
    assert rows["set_bad", "model"]["dice"] == 0
    assert "holiday" in rows["set_bad", "model"]["error"]
    assert rows["set_bad", "copy"]["dice"] > 0
    assert [rows["set_lost", method]["dice"] for method in ("model", "copy")] == [0, 0]
    assert rows["davis_good", "model"]["dice"] == 1
    assert "Traceback" in capsys.readouterr().err


def test_means_are_given_for_stills_design_sets_others_and_videos(quality):
    rows = [
        {"dataset": name, "method": "rf", "dice": d}
        for name, d in (("drive_vessels", 0.2), ("acdc", 0.6), ("davis_camel", 0.9))
    ]
    assert quality.summary(rows) == {"rf": {"stills (2)": 0.4, "design (1)": 0.2, "others (1)": 0.6, "videos (1)": 0.9}}


def test_stacks_of_objects_are_scored_in_3d_and_others_are_not(quality, tmp_path, monkeypatch):
    write_set(tmp_path / "data" / "volume", kind="stack", label_kind="instance", frames=5)
    write_set(tmp_path / "data" / "video", frames=5)
    walls = write_set(tmp_path / "data" / "walls", kind="stack", label_kind="semantic", frames=5)
    tifffile.imwrite(walls / "instances.tif", tifffile.imread(walls / "labels.tif") + 1)  # no background
    out, data = tmp_path / "out.json", str(tmp_path / "data")
    monkeypatch.setattr(sys, "argv", ["quality.py", data, "--methods", "model,rf", "--json", str(out)])
    quality.main()
    rows = {(r["dataset"], r["method"]): r for r in json.loads(out.read_text())["volumes"]}
    assert rows.keys() == {(name, method) for name in ("volume", "walls") for method in ("model", "rf")}
    assert rows["volume", "model"]["ap50"] == 1
    assert rows["walls", "rf"]["true"] == 2


def test_a_run_goes_on_where_it_stopped_unless_something_else_is_asked(quality, tmp_path, monkeypatch):
    out, data = tmp_path / "out.json", tmp_path / "data"
    measured = []
    measure_all = quality.measure_all
    monkeypatch.setattr(
        quality, "measure_all", lambda folder, *args: measured.append(folder.name) or measure_all(folder, *args)
    )

    def run(methods="copy"):
        measured.clear()
        monkeypatch.setattr(sys, "argv", ["quality.py", str(data), "--methods", methods, "--json", str(out)])
        quality.main()
        return measured

    write_set(data / "first", frames=3)
    images = write_set(data / "second", frames=3) / "image.tif"
    images.rename(tmp_path / "lost.tif")
    assert run() == ["first", "second"]
    (tmp_path / "lost.tif").rename(images)
    write_set(data / "third", frames=3)
    assert run() == ["second", "third"]
    rows = json.loads(out.read_text())["rows"]
    assert [(r["dataset"], "error" in r) for r in rows] == [("first", False), ("second", False), ("third", False)]
    assert run() == []
    assert run("copy,rf") == ["first", "second", "third"]
