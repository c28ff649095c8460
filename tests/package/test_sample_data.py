"""File > Open Sample > In-context segmentation."""

from __future__ import annotations

from pkgutil import resolve_name

import numpy as np
import pytest

pytest.importorskip("napari")
npe2 = pytest.importorskip("npe2")


@pytest.mark.parametrize(("key", "axes"), [("ovule", ("z", "y", "x")), ("nuclei", ("i", "y", "x"))])
def test_samples_of_the_manifest_open_as_layers(key: str, axes: tuple[str, ...]) -> None:
    from napari.layers import Layer

    contributions = npe2.PluginManifest.from_distribution("napari-incontext-seg").contributions
    command_id = next(s.command for s in contributions.sample_data if s.key == key)
    command = next(c for c in contributions.commands if c.id == command_id)

    image, labels = (Layer.create(*data) for data in resolve_name(command.python_name)())

    assert (image._type_string, labels._type_string) == ("image", "labels")
    assert image.data.shape == labels.data.shape
    np.testing.assert_allclose(image.scale, labels.scale)
    assert image.units == labels.units
    assert image.axis_labels == labels.axis_labels == axes
