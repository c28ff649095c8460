"""Bundled real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_incontext_seg.errors import InputError
from napari_incontext_seg.io import samples
from napari_incontext_seg.io.samples import sample, sample_names


@pytest.mark.parametrize(
    ("name", "axes", "shape", "classes"), [("ovule", "zyx", (32, 128, 128), 1), ("nuclei", "iyx", (24, 256, 256), None)]
)
def test_samples_are_annotated_images(name: str, axes: str, shape: tuple[int, ...], classes: int | None) -> None:
    data = sample(name)
    assert name in sample_names()
    assert data.image.axes == data.labels.axes == axes
    assert data.image.data.shape == data.labels.data.shape == shape
    assert all(data.labels.read(k).any() for k in range(len(data.labels)))
    assert classes is None or data.labels.read(0).max() == classes
    assert data.image.plane_shape == data.image.normalized().plane(0).shape[:2]
    assert isinstance(data.image.data, np.ndarray)


def test_every_sample_has_its_licence_beside_it() -> None:
    folders = [p for p in Path(samples.__file__).with_name("sample_data").iterdir() if p.is_dir()]
    assert len(folders) == len(sample_names())
    texts = [(folder / "LICENSE.txt").read_text(encoding="utf-8") for folder in folders]
    assert any("MIT License" in text for text in texts)
    assert any("CC0 1.0" in text for text in texts)


def test_an_unknown_sample_names_those_that_exist() -> None:
    with pytest.raises(InputError, match="there are: ovule, nuclei"):
        sample("cat")
