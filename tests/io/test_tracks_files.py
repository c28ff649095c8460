"""Tracks written as a table, a graph and a challenge folder are what other tools read back."""

from __future__ import annotations

import csv

import geff
import numpy as np
import pytest
import tifffile
from traccuracy.loaders import load_ctc_data

from napari_incontext_seg.core.tracks import Tracks
from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.io.tracks import write_tracks


@pytest.fixture
def frames() -> np.ndarray:
    """Track 1 divides into 2 and 3 after frame 1; track 4 is missing in frame 2."""
    labels = np.zeros((4, 20, 20), np.uint32)
    labels[:2, 2:6, 2:6] = 1
    labels[2:, 1:3, 2:6], labels[2:, 5:7, 2:6] = 2, 3
    labels[[0, 1, 3], 12:16, 12:16] = 4
    return labels


@pytest.fixture
def tracks(frames: np.ndarray) -> Tracks:
    return Tracks.measure(
        frames, images=frames * 2.0, parents={2: (1,), 3: (1,)}, scale=(60.0, 0.5, 0.5),
        units=("second", "micrometer", "micrometer"),
    )  # fmt: skip


def test_a_table_has_a_row_for_each_object_and_frame(tracks, tmp_path):
    write_tracks(tmp_path / "t.csv", tracks)
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(tracks) == 9
    assert rows[0] == {
        "track": "1", "frame": "0", "z": "0.0", "y": "3.5", "x": "3.5", "area": "16", "mean_intensity": "2.0",
        "confidence": "", "parent": "",
    }  # fmt: skip
    assert {r["parent"] for r in rows if r["track"] == "3"} == {"1"}


def test_a_graph_is_read_back_by_geff_with_divisions_gaps_and_units(tracks, tmp_path):
    write_tracks(tmp_path / "t.geff", tracks)
    graph, metadata = geff.read(tmp_path / "t.geff")
    assert [(a.name, a.type, a.unit) for a in metadata.axes] == [
        ("t", "time", "second"), ("y", "space", "micrometer"), ("x", "space", "micrometer"),
    ]  # fmt: skip
    ids = {node: values["track_id"] for node, values in graph.nodes(data=True)}
    links = sorted((ids[a], ids[b]) for a, b in graph.edges)
    assert links == [(1, 1), (1, 2), (1, 3), (2, 2), (3, 3), (4, 4), (4, 4)]
    first = next(values for node, values in graph.nodes(data=True) if values["track_id"] == 1)
    assert (first["t"], first["y"], first["area"]) == (0.0, 1.75, 16)


def test_a_challenge_folder_is_read_back_by_traccuracy_and_goes_on_after_a_gap(tracks, frames, tmp_path):
    write_tracks(tmp_path / "RES", tracks, frames)
    assert (tmp_path / "RES" / "res_track.txt").read_text().splitlines() == [
        "1 0 1 0", "2 2 3 1", "3 2 3 1", "4 0 1 0", "5 3 3 4",
    ]  # fmt: skip
    found = load_ctc_data(str(tmp_path / "RES"), str(tmp_path / "RES" / "res_track.txt"))
    ids = {node: values["segmentation_id"] for node, values in found.graph.nodes(data=True)}
    assert sorted((ids[a], ids[b]) for a, b in found.graph.edges) == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 2),
        (3, 3),
        (4, 4),
        (4, 5),
    ]
    assert set(np.unique(tifffile.imread(tmp_path / "RES" / "mask0003.tif"))) == {0, 2, 3, 5}


def test_what_exists_is_not_replaced_unless_asked(tracks, frames, tmp_path):
    for name in ("t.csv", "t.geff", "RES"):
        write_tracks(tmp_path / name, tracks, frames)
        with pytest.raises(FileError, match="exists"):
            write_tracks(tmp_path / name, tracks, frames)
        write_tracks(tmp_path / name, tracks, frames, overwrite=True)


def test_what_a_challenge_folder_cannot_say_is_told(tracks, frames, tmp_path):
    with pytest.raises(InputError, match="give the labels"):
        write_tracks(tmp_path / "RES", tracks)
    merged = Tracks.measure(frames, parents={2: (1, 4)})
    with pytest.raises(InputError, match="several parents"):
        write_tracks(tmp_path / "RES", merged, frames)
