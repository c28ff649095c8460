"""What tracking writes, as napari's own readers and Tracks layer take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

npe2 = pytest.importorskip("npe2")
pytest.importorskip("napari")

from napari_incontext_seg.core.tracks import Tracks  # noqa: E402
from napari_incontext_seg.io.track_reading import read_tracks  # noqa: E402
from napari_incontext_seg.io.tracks import write_tracks  # noqa: E402


@pytest.fixture
def frames() -> np.ndarray:
    """Four frames: 1 divides into 2 and 3 after two frames; 7 is there throughout."""
    labels = np.zeros((4, 20, 30), np.uint16)
    labels[:2, 4:10, 4:10] = 1
    labels[2:, 3:6, 4:10], labels[2:, 8:11, 4:10] = 2, 3
    labels[:, 12:18, 20:26] = 7
    return labels


def read_by_napari(*files: Path) -> np.ndarray:
    npe2.PluginManager.instance().discover()
    layers, reader = npe2.read_get_reader([str(f) for f in files], stack=True, plugin_name="napari")
    assert reader.plugin_name == "napari"
    assert len(layers) == 1
    return np.asarray(layers[0][0])


def test_masks_of_a_challenge_folder_are_a_stack_in_napari(frames: np.ndarray, tmp_path: Path) -> None:
    write_tracks(tmp_path / "01_RES", Tracks.measure(frames, parents={2: (1,), 3: (1,)}), frames)
    np.testing.assert_array_equal(read_by_napari(*sorted((tmp_path / "01_RES").glob("mask*.tif"))), frames)


@pytest.mark.parametrize("name", ["tracks.csv", "tracks.geff", "01_RES"])
def test_tracks_that_are_read_back_make_a_layer_with_their_divisions(
    frames: np.ndarray, tmp_path: Path, name: str
) -> None:
    from napari.layers import Tracks as TracksLayer

    write_tracks(tmp_path / name, Tracks.measure(frames, parents={2: (1,), 3: (1,)}), frames)
    found = read_tracks(tmp_path / name)
    graph = {child: list(parents) for child, parents in found.parents.items()}
    layer = TracksLayer(found.napari_rows(), graph=graph)
    assert sorted(set(layer.data[:, 0].tolist())) == [1, 2, 3, 7]
    assert {child: list(parents) for child, parents in layer.graph.items()} == {2: [1], 3: [1]}
    np.testing.assert_allclose(layer.data[layer.data[:, 0] == 7][:, 1:], [[t, 14.5, 22.5] for t in range(4)])
