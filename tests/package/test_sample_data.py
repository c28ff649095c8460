"""File > Open Sample > In-context segmentation."""

from __future__ import annotations

from pkgutil import resolve_name

import numpy as np
import pytest

pytest.importorskip("napari")
npe2 = pytest.importorskip("npe2")


@pytest.mark.parametrize(("key", "axes"), [("ovule", ("z", "y", "x")), ("nuclei", ("i", "y", "x"))])
def test_samples_of_the_manifest_open_ready_to_be_propagated(key: str, axes: tuple[str, ...]) -> None:
    from napari.components import ViewerModel
    from napari.layers import Layer

    contributions = npe2.PluginManifest.from_distribution("napari-incontext-seg").contributions
    command_id = next(s.command for s in contributions.sample_data if s.key == key)
    command = next(c for c in contributions.commands if c.id == command_id)

    image, truth, labels = (Layer.create(*data) for data in resolve_name(command.python_name)())

    assert [layer._type_string for layer in (image, truth, labels)] == ["image", "labels", "labels"]
    assert image.data.shape == labels.data.shape == truth.data.shape
    np.testing.assert_allclose(image.scale, labels.scale)
    assert image.units == labels.units
    assert image.axis_labels == labels.axis_labels == axes
    assert [layer.visible for layer in (image, truth, labels)] == [True, False, True]

    viewer = ViewerModel()
    for layer in (image, truth, labels):
        viewer.add_layer(layer)
    (annotated,) = np.flatnonzero(labels.data.any(axis=(1, 2)))
    assert annotated == viewer.dims.current_step[0]  # the slice that one sees first
    np.testing.assert_array_equal(labels.data[annotated], truth.data[annotated])
    assert truth.data.any(axis=(1, 2)).all()
    assert viewer.layers.selection.active is labels
