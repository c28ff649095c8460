"""The protocol of `benchmarks/tracking.py`, on a set made here."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import tifffile
from fakes import ThresholdPredictor
from test_quality_protocol import BENCHMARKS


@pytest.fixture
def tracking(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _tracking
    import tracking

    monkeypatch.setattr(_tracking, "load_predictor", lambda _: ThresholdPredictor())
    return tracking


def write_set(folder, *, lineage=True, consecutive=True):
    """Four squares in 8 frames; the second divides after frame 3."""
    labels = np.zeros((8, 60, 80), np.uint16)
    for t in range(8):
        labels[t, 5:15, 5 + 2 * t : 15 + 2 * t] = 3
        labels[t, 25:35, 60 - t : 70 - t] = 9
        labels[t, 45:55, 60:70] = 11
        if t < 4:
            labels[t, 42:54, 20:32] = 5
        else:
            labels[t, 42:54, 17 : 25 - 1] = 6
            labels[t, 42:54, 27:34] = 7
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "image.tif", (labels > 0).astype(np.uint8) * 200)
    tifffile.imwrite(folder / "labels.tif", labels)
    meta = {"kind": "timelapse", "label_kind": "tracked", "consecutive": consecutive}
    (folder / "meta.json").write_text(json.dumps(meta))
    if lineage:
        (folder / "man_track.txt").write_text("3 0 7 0\n5 0 3 0\n6 4 7 5\n7 4 7 5\n9 0 7 0\n11 0 7 0\n")
    return folder


def run(tracking, monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["tracking.py", *(str(a) for a in arguments)])
    return int(tracking.main())


def test_rows_and_means_of_ours_and_of_both_rivals(tracking, tmp_path, monkeypatch, capsys):
    write_set(tmp_path / "data" / "squares")
    write_set(tmp_path / "data" / "apart", consecutive=False)
    assert (
        run(tracking, monkeypatch, tmp_path / "data", "--json", tmp_path / "f.json", "--out", tmp_path / "found") == 0
    )
    report = json.loads((tmp_path / "f.json").read_text())
    rows = {row["method"]: row for row in report["rows"]}
    assert {row["dataset"] for row in report["rows"]} == {"squares"}
    assert rows.keys() == {"model", "rf", "flow"}
    assert (rows["model"]["seg"], rows["model"]["tra"], rows["model"]["jf"]) == (1, 1, None)
    assert 0.5 < rows["rf"]["seg"] <= 1
    assert rows["rf"]["tra"] < 1  # laptrack's defaults know no division
    assert rows["flow"]["tra"] < 1  # nor does optical flow
    assert report["means"]["model"] == {"seg": 1, "tra": 1}
    assert "squares" in capsys.readouterr().out
    assert sorted(f.name for f in (tmp_path / "found").iterdir()) == [
        f"squares-{m}.npz" for m in ("flow", "model", "rf")
    ]


def test_the_first_frame_is_not_scored_and_divisions_count_only_where_the_lineage_is_known(tracking, tmp_path):
    from _sets import AnnotatedSet
    from _tracking import Followed, read_lineage, seg_tra

    folder = write_set(tmp_path / "squares", lineage=False)
    assert read_lineage(folder) is None
    labels = [f.astype(np.int64) for f in AnnotatedSet.read(folder).labels]
    truth = Followed(labels, {6: (5,), 7: (5,)})
    nothing_first = Followed([labels[0] * 0, *labels[1:]], truth.parents)
    assert seg_tra(truth, nothing_first) == (1, 1)
    assert seg_tra(truth, Followed(labels))[1] < 1
    half = [np.where(np.arange(80) < 65, f, 0) for f in labels]  # half of 11 is gone: at most half is covered
    seg, tra = seg_tra(truth, Followed(half, truth.parents))
    assert seg < 0.9
    assert tra < 1


def test_a_set_that_fails_scores_0_and_the_script_says_so(tracking, tmp_path, monkeypatch, capsys):
    write_set(tmp_path / "data" / "squares")

    def fail(data):
        raise ValueError("no")

    monkeypatch.setitem(tracking.METHODS, "model", fail)
    assert run(tracking, monkeypatch, tmp_path / "data", "--methods", "model", "--json", tmp_path / "f.json") == 1
    row = json.loads((tmp_path / "f.json").read_text())["rows"][0]
    assert (row["seg"], row["tra"], row["error"]) == (0, 0, "ValueError: no")
    assert "failed: squares (model)" in capsys.readouterr().err


def test_simulated_cells_have_a_lineage_that_fits_their_labels(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import moving_cells

    monkeypatch.setattr(
        sys, "argv", ["moving_cells.py", str(tmp_path / "m"), "--frames", "10", "--cells", "12", "--seed", "1"]
    )
    moving_cells.main()
    labels = tifffile.imread(tmp_path / "m" / "labels.tif")
    rows = np.loadtxt(tmp_path / "m" / "man_track.txt", int)
    assert {*rows[:, 0]} == {*np.unique(labels)} - {0}
    for track, begin, end, parent in rows.tolist():
        frames = np.flatnonzero((labels == track).any(axis=(1, 2)))
        assert (frames[0], frames[-1]) == (begin, end)
        assert parent == 0 or rows[rows[:, 0] == parent, 2] < begin


def test_objects_of_a_video_are_scored_one_by_one_from_the_frame_after_their_annotation(tracking, tmp_path):
    from _sets import AnnotatedSet
    from _tracking import Followed, j_and_f
    from few_objects import video

    images, labels = video(3, 8, 0)
    assert not (labels[3] == 1).any()  # it has left
    assert (labels[7] == 1).any()  # and is back
    annotated = {0: [1, 2], 4: [3]}
    data = AnnotatedSet("few", "timelapse", "tracked", list(images), list(labels), annotated)
    assert data.is_video
    assert {t: set(np.unique(y)) for t, y in data.given.items()} == {0: {0, 1, 2}, 4: {0, 3}}
    truth = Followed(list(labels))
    assert j_and_f(truth, truth, annotated) == {1: (1, 1), 2: (1, 1), 3: (1, 1)}
    late = labels.copy()
    late[:5][late[:5] == 3] = 0  # nobody had named it then
    late[5][late[5] == 2] = 0
    j = {i: score[0] for i, score in j_and_f(truth, Followed(list(late)), annotated).items()}
    assert j == {1: 1, 2: pytest.approx(5 / 6), 3: 1}  # of frames 1, 2, 3, 5, 6, 7
