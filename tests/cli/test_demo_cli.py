"""``incontext-seg demo`` and ``info``."""

import json

import pytest
import tifffile

from napari_incontext_seg.cli.main import main


def test_the_demo_paints_a_real_stack_and_is_not_repeated_over_its_output(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["complete"]
    assert report["slices"] == 32
    assert report["annotated"] == [16]
    assert report["dice"] > 0.45  # copying the annotated slice to all others gives 0.17
    assert tifffile.imread(out / "labels.tif").shape == (32, 128, 128)
    assert tifffile.imread(out / "labels_confidence.tif").shape == (32, 128, 128)
    assert (out / "labels.png").exists()
    assert main(["demo", "--out", str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_info_tells_versions_devices_and_models(capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert "cpu" in facts["devices"]
    assert facts["models"]["guess"] == "built in"
    assert facts["packages"]["torch"]
    assert main(["info"]) == 0
    assert "models    micro (built in), guess (built in)" in capsys.readouterr().out


@pytest.mark.parametrize("position", ["99", "-1"])
def test_a_slice_that_does_not_exist(position, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--annotated", position]) == 1
    assert f"slice {position} does not exist" in capsys.readouterr().err
