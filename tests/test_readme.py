"""The Python of the README, run as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

README = Path(__file__).parents[1] / "README.md"


def test_the_lines_do_what_the_command_does(tmp_path, monkeypatch):
    image = np.zeros((3, 30, 30), np.uint8)
    image[:, 8:20, 5:15] = 180
    image += np.random.default_rng(0).integers(0, 20, image.shape, np.uint8)
    labels = np.zeros_like(image)
    labels[1, 8:20, 5:15] = 1
    tifffile.imwrite(tmp_path / "image.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
    out = tifffile.imread(tmp_path / "result.tif")
    assert ((out == 1) == (image > 100)).mean() > 0.97


@pytest.mark.parametrize("name", ["Stack", "Example", "Context", "Segmentation", "propagate", "load_predictor"])
def test_public_names_are_found_where_the_package_says(name):
    import napari_incontext_seg

    assert name in dir(napari_incontext_seg)
    assert getattr(napari_incontext_seg, name).__name__ == name
