"""A video dropped on napari: an image layer whose frames are decoded when they are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")
npe2 = pytest.importorskip("npe2")
pytest.importorskip("napari")


@pytest.mark.parametrize(("pixels", "codec", "rgb"), [("yuv420p", "mpeg4", True), ("gray", "ffv1", False)])
def test_a_video_becomes_an_image_layer(tmp_path: Path, pixels: str, codec: str, rgb: bool) -> None:
    from napari.layers import Layer

    file = tmp_path / "cells.avi"
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for number in range(6):
            frame = np.full((48, 64, 3), 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    npe2.PluginManager.instance().discover()
    data, reader = npe2.read_get_reader([str(file)], stack=False, plugin_name="napari-incontext-seg")
    assert reader.plugin_name == "napari-incontext-seg"
    layer = Layer.create(*data[0])

    assert (layer.name, layer.rgb, layer.ndim) == ("cells", rgb, 3)
    assert layer.axis_labels == ("t", "y", "x")
    assert layer.scale[0] == pytest.approx(0.1)
    assert str(layer.units[0]) == "second"
    assert float(np.asarray(layer.data[4]).mean()) == pytest.approx(160, abs=4)
