"""``incontext-seg track``, as a person types it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import tifffile

from napari_incontext_seg.cli.main import main


@pytest.fixture
def job(tmp_path):
    """A time-lapse of bright discs: one divides in frame 3; with its first frame annotated. Returns the folder."""
    y, x = np.mgrid[:64, :80]
    truth = np.zeros((6, 64, 80), np.uint16)

    def put(t, i, cy, cx, r):
        truth[t][(y - cy) ** 2 + (x - cx) ** 2 <= r**2] = i

    for t in range(6):
        put(t, 7, 45, 15 + 4 * t, 7)
        if t < 3:
            put(t, 4, 20, 50, 9)
        else:
            put(t, 8, 20, 44 - 2 * (t - 3), 6)
            put(t, 9, 20, 58 + 2 * (t - 3), 6)
    noise = np.random.default_rng(0).integers(0, 20, truth.shape)
    image = (np.where(truth > 0, 160, 40) + noise).astype(np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", image, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "labels.tif", truth[0])
    tifffile.imwrite(tmp_path / "masks.tif", truth, imagej=True, metadata={"axes": "TYX"})
    return tmp_path


def run(folder, *arguments):
    return main(["track", *(str(a) for a in arguments), "--model", "guess"])


def test_one_annotated_frame_gives_tracks_with_divisions(job, capsys):
    out = job / "out.tif"
    assert run(job, job / "image.tif", "--labels", job / "labels.tif", "--annotated", 0, "--out", out) == 0
    said = capsys.readouterr().out
    assert "4 tracks, 1 division, 0 closed gaps in 6 frames" in said
    assert "least sure links: track" in said
    assert re.search(r"objects are \d.* within \S+ pixels", said)
    found, truth = tifffile.imread(out), tifffile.imread(job / "masks.tif")
    np.testing.assert_array_equal(found[0], truth[0])
    assert ((found == 7) == (truth == 7)).mean() > 0.98
    record = json.loads((job / "out.json").read_text())
    assert (record["model"], record["annotated_slices"]) == ("guess", [0])
    assert record["files"] == {"image": "image.tif", "labels": "labels.tif"}


def test_masks_alone_are_linked_and_reported_as_json(job, capsys):
    assert run(job, "--masks", job / "masks.tif", "--out", job / "linked.tif", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tracks"] == 4
    assert not (job / "linked_confidence.tif").exists()  # nobody knows
    assert len(report["divisions"]) == 1
    assert report["gaps"] == {}
    assert {"track", "frame", "confidence"} == report["least_sure"][0].keys()
    assert run(job, "--masks", job / "masks.tif", "--no-divisions", "--out", job / "plain.tif", "--json") == 0
    assert json.loads(capsys.readouterr().out)["divisions"] == {}


def test_distances_have_the_unit_of_the_image(job, capsys):
    masks = tifffile.imread(job / "masks.tif")
    metadata = {"axes": "TYX", "unit": "um"}
    tifffile.imwrite(job / "scaled.tif", masks, imagej=True, metadata=metadata, resolution=(2, 2))
    assert run(job, "--masks", job / "scaled.tif", "--out", job / "linked.tif") == 0
    assert re.search(r"objects are \d.* within \S+ µm", capsys.readouterr().out)


def test_a_table_lies_beside_the_labels(job):
    assert run(job, "--masks", job / "masks.tif", "--out", job / "linked.tif") == 0
    assert (job / "linked_tracks.csv").exists()
    assert json.loads((job / "linked.json").read_text())["files"] == {"masks": "masks.tif"}


def test_a_folder_is_one_of_the_cell_tracking_challenge(job):
    out = job / "01_RES"
    assert run(job, job / "image.tif", "--masks", job / "masks.tif", "--out", out) == 0
    masks = sorted(out.glob("mask*.tif"))
    assert len(masks) == 6
    rows = np.loadtxt(out / "res_track.txt", int)
    assert len(rows) == 4
    assert (rows[:, 3] > 0).sum() == 2
    assert (out / "tracks.csv").exists()
    assert run(job, "--masks", out, "--axes", "tyx", "--out", job / "again.tif") == 0  # the picture is no mask
    assert tifffile.imread(job / "again.tif").shape == (6, 64, 80)


def test_a_z_stack_gives_3d_objects(job, capsys):
    masks = np.zeros((4, 30, 30), np.uint8)
    masks[:, 5:12, 5:12] = np.array([3, 1, 2, 9])[:, None, None]  # another id in every plane
    tifffile.imwrite(job / "planes.tif", masks, imagej=True, metadata={"axes": "ZYX"})
    assert run(job, "--masks", job / "planes.tif", "--out", job / "objects.tif") == 0
    assert "1 3-D object in 4 slices" in capsys.readouterr().out
    assert set(np.unique(tifffile.imread(job / "objects.tif"))) == {0, 1}


def test_planes_of_image_and_masks_are_matched_by_their_axes(job, capsys):
    z = np.stack([tifffile.imread(job / "masks.tif")] * 2, 1)  # t, z, y, x
    z[:, 1] = 0
    tifffile.imwrite(job / "tz.tif", z, imagej=True, metadata={"axes": "TZYX"})
    tifffile.imwrite(job / "zt.ome.tif", z.swapaxes(0, 1).astype(np.uint8), metadata={"axes": "ZTYX"})
    for number, more in enumerate([(), (job / "zt.ome.tif",)]):
        assert run(job, *more, "--masks", job / "tz.tif", "--no-stitch", "--out", job / f"out{number}.tif") == 0
    capsys.readouterr()
    tables = [(job / f"out{n}_tracks.csv").read_text().splitlines() for n in (0, 1)]
    found = [sorted(tuple(line.split(",")[:2]) for line in lines) for lines in tables]
    assert found[0] == found[1]


def test_masks_are_not_written_over_by_what_is_made_of_them(job, capsys):
    (job / "ctc").mkdir()
    for t, plane in enumerate(tifffile.imread(job / "masks.tif")):
        tifffile.imwrite(job / "ctc" / f"mask{t:03d}.tif", plane * 3)
    arguments = ("--masks", job / "ctc", "--axes", "tyx", "--out", job / "ctc", "--overwrite")
    assert run(job, *arguments) == 1
    assert "is an input, which is never written over" in capsys.readouterr().err
    assert tifffile.imread(job / "ctc" / "mask000.tif").max() == 21


def test_what_is_missing_or_in_the_way_is_told(job, capsys):
    out = ("--out", job / "out.tif")
    assert run(job, job / "image.tif", *out) == 1
    assert "--masks" in capsys.readouterr().err
    assert run(job, job / "image.tif", "--labels", job / "labels.tif", "--masks", job / "masks.tif", *out) == 1
    assert "leave out --labels" in capsys.readouterr().err
    assert run(job, "--masks", job / "masks.tif", "--out", job / "masks.tif", "--overwrite") == 1
    assert "is an input" in capsys.readouterr().err
    (job / "out_tracks.csv").write_text("mine")
    assert run(job, "--masks", job / "masks.tif", *out) == 1
    assert "out_tracks.csv exists" in capsys.readouterr().err


def test_few_objects_by_colour_keep_their_ids(tmp_path, capsys):
    """Three objects of different brightness: one leaves and comes back, one is annotated in frame 3 only."""
    y, x = np.mgrid[:64, :80]
    truth = np.zeros((7, 64, 80), np.uint8)
    for t in range(7):
        truth[t][(y - 14) ** 2 + (x - 14 - 4 * t) ** 2 < 60] = 0 if t in (2, 3, 4) else 5
        truth[t][(y - 32) ** 2 + (x - 40) ** 2 < 70] = 6
        truth[t][(y - 52) ** 2 + (x - 60 + 4 * t) ** 2 < 60] = 7
    grey = np.array([40, 0, 0, 0, 0, 130, 190, 245])[truth]
    image = (grey + np.random.default_rng(0).integers(-8, 8, truth.shape)).astype(np.uint8)
    labels = np.zeros_like(truth)
    labels[0], labels[3] = np.where(truth[0] == 7, 0, truth[0]), np.where(truth[3] == 7, 7, 0)
    tifffile.imwrite(tmp_path / "image.tif", image, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    out = tmp_path / "out.tif"
    given = (tmp_path / "image.tif", "--labels", tmp_path / "labels.tif", "--out", out)
    assert run(tmp_path, *given, "--by", "colour") == 0
    assert "3 tracks, 0 divisions, 1 closed gap" in capsys.readouterr().out
    found = tifffile.imread(out)
    for i in (5, 6, 7):
        assert 2 * ((found == i) & (truth == i)).sum() / ((found == i).sum() + (truth == i).sum()) > 0.9
    assert not (found[2:5] == 5).any()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--masks", "masks.tif", "--by", "colour"), "--by would do nothing: it says something only where objects are"),
        (("--masks", "masks.tif", "--ignore-label", "255"), "--ignore-label would do nothing"),
        (("--masks", "masks.tif", "--channels", "5"), "--channels would do nothing"),
        (("image.tif", "--labels", "labels.tif", "--annotated", "0", "--stitch"), "--stitch would do nothing"),
    ],
)
def test_options_that_would_do_nothing_are_refused(job, capsys, monkeypatch, given, told):
    monkeypatch.chdir(job)
    assert main(["track", *given, "--out", "linked.tif"]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tracks.csv", "tracks.png", "tracks.txt"])
def test_a_name_that_tracks_are_not_written_under_is_refused_before_any_work(job, capsys, name):
    assert run(job, "--masks", job / "masks.tif", "--out", job / name) == 1
    assert "each with a table NAME_tracks.csv" in capsys.readouterr().err
    assert not (job / name).exists()


def test_masks_of_one_number_are_taken_for_connected_pieces(job, capsys):
    """0 and 255, as thresholding leaves them: linked, or annotated in one frame."""
    masks = tifffile.imread(job / "masks.tif")
    tifffile.imwrite(job / "binary.tif", (masks > 0).astype(np.uint8) * 255, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(job / "first.tif", (masks[0] > 0).astype(np.uint8) * 255)
    for given in (("--masks", job / "binary.tif"), ("--labels", job / "first.tif", "--annotated", 0)):
        out = job / f"out{given[0]}.tif"
        assert run(job, job / "image.tif", *given, "--out", out) == 0
        said = capsys.readouterr()
        assert "4 tracks, 1 division" in said.out
        assert "one number (255): each connected piece is taken for an object" in said.err
        assert len(np.unique(tifffile.imread(out)[0])) == 3


def test_several_annotated_frames_need_numbers_as_a_number_is_a_name(job, capsys):
    masks = (tifffile.imread(job / "masks.tif") > 0).astype(np.uint8)
    masks[1:5] = 0
    tifffile.imwrite(job / "ends.tif", masks)
    assert run(job, job / "image.tif", "--labels", job / "ends.tif", "--out", job / "out.tif") == 1
    assert "the same number in each" in capsys.readouterr().err
