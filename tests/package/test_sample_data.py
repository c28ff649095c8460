"""File > Open Sample > In-context segmentation."""

from __future__ import annotations

from pkgutil import resolve_name

import numpy as np
import pytest

pytest.importorskip("napari")
npe2 = pytest.importorskip("npe2")


def test_the_sample_that_the_manifest_names_opens_as_layers() -> None:
    from napari.layers import Layer

    manifest = npe2.PluginManifest.from_distribution("napari-incontext-seg")
    (contribution,) = manifest.contributions.sample_data
    command = next(c for c in manifest.contributions.commands if c.id == contribution.command)

    image, labels = (Layer.create(*data) for data in resolve_name(command.python_name)())

    assert (image._type_string, labels._type_string) == ("image", "labels")
    assert image.data.shape == labels.data.shape
    np.testing.assert_allclose(image.scale, labels.scale)
    assert image.units == labels.units
    assert image.axis_labels == labels.axis_labels == ("z", "y", "x")
