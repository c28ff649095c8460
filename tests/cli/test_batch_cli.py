"""``incontext-seg batch``, as a person types it."""

import json

import numpy as np
import pytest
import tifffile

from napari_incontext_seg.cli.main import main


@pytest.fixture
def folder(tmp_path):
    """Three images of a bright disc, one of them damaged, and an example set of the first."""
    rows, columns = np.mgrid[:40, :40]
    noise = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for k, name in enumerate("abc"):
        disc = (rows - 14 - 3 * k) ** 2 + (columns - 20) ** 2 < 60
        image = np.where(disc, 160, 60) + noise.integers(0, 20, (40, 40))
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", image.astype(np.uint8))
        tifffile.imwrite(tmp_path / f"truth_{name}.tif", (disc * 3).astype(np.uint8))
    (tmp_path / "images" / "c.tif").write_bytes(b"II*\0")
    arguments = ["--labels", str(tmp_path / "truth_a.tif"), "--out", str(tmp_path / "set.incontext")]
    assert main(["examples", "make", str(tmp_path / "images" / "a.tif"), *arguments]) == 0
    return tmp_path


def batch(folder, *options):
    given = [str(folder / "images"), "--examples", str(folder / "set.incontext"), "--out", str(folder / "out")]
    return main(["batch", *given, "--model", "guess", *options])


def test_failures_are_listed_at_the_end_and_the_others_are_done(folder, capsys):
    assert batch(folder) == 1
    said = capsys.readouterr()
    assert "2 done, 0 skipped, 1 failed" in said.out
    assert "least sure: b.tif slice 0" in said.out
    assert "failed: " in said.err.splitlines()[-1]
    assert "c.tif" in said.err.splitlines()[-1]
    out, truth = tifffile.imread(folder / "out" / "b.tif"), tifffile.imread(folder / "truth_b.tif")
    assert (out == truth).mean() > 0.97
    (folder / "images" / "c.tif").unlink()
    assert batch(folder, "--resume") == 0
    assert "0 done, 2 skipped, 0 failed" in capsys.readouterr().out


def test_json(folder, capsys):
    (folder / "images" / "c.tif").unlink()
    capsys.readouterr()
    assert batch(folder, "--json", "--picture") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["done"] == 2
    assert [f["annotated"] for f in report["files"]] == [1, 0]
    assert (folder / "out" / "b.png").exists()


def test_options_that_contradict_each_other_are_told(folder, capsys):
    assert batch(folder, "--resume", "--overwrite") == 1
    assert "leave one out" in capsys.readouterr().err
    settings = folder / "walls.json"
    settings.write_text(json.dumps({"settings": {"model": "guess", "quality": "fast"}}))
    assert batch(folder, "--settings", str(settings), "--memory", "2") == 1
    assert "only --device and --key go with it" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_settings_of_a_run_in_napari(folder):
    settings = folder / "walls.json"
    settings.write_text(json.dumps({"settings": {"model": "guess", "quality": "fast"}}))
    given = [
        str(folder / "images" / "b.tif"),
        "--examples",
        str(folder / "set.incontext"),
        "--out",
        str(folder / "out"),
    ]
    assert main(["batch", *given, "--settings", str(settings)]) == 0
    record = json.loads((folder / "out" / "b.json").read_text())
    assert record["model"] == "guess"
    assert record["settings"]["quality"] == "fast"
