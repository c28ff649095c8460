"""A collection of images of different sizes, into a folder."""

import json

import numpy as np
import pytest
import tifffile
from fakes import ThresholdPredictor
from PIL import Image

from napari_incontext_seg.cli.main import main
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import InputError
from napari_incontext_seg.session.collection import run_to_folder


def image(name, shape, bright=200):
    data = np.zeros(shape, np.uint8)
    data[2:8, 2:8], data[12:16, 3:9] = bright, bright
    return Stack(data, "yx", name=name)


IMAGES = [image("a", (20, 20)), image("b", (30, 24), bright=90), image("c", (18, 40))]


def labels(k, label=3):
    return (IMAGES[k].data > 0).astype(np.uint8) * label


def test_each_image_is_normalised_on_its_own_and_gets_a_file(tmp_path):
    report = run_to_folder(IMAGES, {0: labels(0)}, ThresholdPredictor(), tmp_path, picture=tmp_path / "sheet.png")
    for k, name in enumerate("abc"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"{name}.tif"), labels(k))
    assert report.annotated == [0]
    assert report.as_dict()["images"] == 3
    assert set(report.as_dict()["confidence"]) == {"b", "c"}
    assert (tmp_path / "sheet.png").exists()
    assert json.loads((tmp_path / "provenance.json").read_text())["complete"]


def test_objects_get_ids_of_their_own_and_annotated_ids_stay(tmp_path):
    given = labels(0)
    given[12:16] = (given[12:16] > 0) * 7
    run_to_folder(IMAGES, {0: given}, ThresholdPredictor(), tmp_path, kind="instance")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), given)
    assert set(np.unique(tifffile.imread(tmp_path / "b.tif"))) == {0, 1, 2}


def test_labels_that_do_not_fit_name_their_image(tmp_path):
    with pytest.raises(InputError, match="labels of b: labels must match the image"):
        run_to_folder(IMAGES, {1: labels(0)}, ThresholdPredictor(), tmp_path)


def test_from_the_command_line(tmp_path, capsys):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for one in IMAGES:
        tifffile.imwrite(tmp_path / "images" / f"{one.name}.tif", one.data)
    tifffile.imwrite(tmp_path / "labels" / "a.tif", labels(0))
    command = [
        "propagate",
        str(tmp_path / "images"),
        "--labels",
        str(tmp_path / "labels"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 0
    assert "3 images (1 annotated)" in capsys.readouterr().out
    for k, name in enumerate("bc", 1):
        assert (tifffile.imread(tmp_path / "out" / f"{name}.tif") == labels(k)).mean() > 0.9
    assert (tmp_path / "out.png").exists()
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert (record["files"], record["annotated_images"]) == ({"image": "images", "labels": "labels"}, ["a"])
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "labels" / "z.tif", labels(0))
    assert main([*command, "--overwrite"]) == 1
    assert "no image in" in capsys.readouterr().err


def test_a_folder_of_results_is_labels_again(tmp_path, capsys):
    """It holds nothing but labels: it can be cleaned, and given as labels."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for one in IMAGES:
        Image.fromarray(one.data).save(tmp_path / "images" / f"{one.name}.png")
    Image.fromarray(labels(0)).save(tmp_path / "labels" / "a.png")
    paint = ["propagate", str(tmp_path / "images"), "--model", "guess"]
    assert main([*paint, "--labels", str(tmp_path / "labels"), "--out", str(tmp_path / "out")]) == 0
    assert main([*paint, "--labels", str(tmp_path / "out"), "--out", str(tmp_path / "again")]) == 0
    clean = ["clean", str(tmp_path / "out"), "--do", "drop_small:30", "--out", str(tmp_path / "clean")]
    capsys.readouterr()
    assert main(clean) == 0
    assert "3 of 3 images changed" in capsys.readouterr().out
    for k, name in enumerate("abc"):
        assert (np.asarray(Image.open(tmp_path / "again" / f"{name}.png")) > 0).any()
        found = np.asarray(Image.open(tmp_path / "clean" / f"{name}.png"))
        assert found.shape == IMAGES[k].data.shape
        assert found[2:8, 2:8].any()
        assert not found[12:16].any()  # 24 pixels
    assert main(clean) == 1  # exists
    assert main([*clean[:-1], str(tmp_path / "out"), "--overwrite"]) == 1
    assert "is an input" in capsys.readouterr().err
