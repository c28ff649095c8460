"""Tracks written as a table, a graph and a challenge folder are what other tools read back."""

from __future__ import annotations

import csv

import geff
import networkx
import numpy as np
import pytest
import tifffile
from traccuracy.loaders import load_ctc_data

from napari_incontext_seg.core.tracks import Tracks
from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.io.track_reading import read_tracks
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


def test_a_table_that_excel_has_saved_is_read(tracks, tmp_path):
    write_tracks(tmp_path / "t.csv", tracks)
    (tmp_path / "excel.csv").write_text((tmp_path / "t.csv").read_text(), encoding="utf-8-sig")
    assert len(read_tracks(tmp_path / "excel.csv")) == 9


def test_a_graph_is_read_back_by_geff_with_divisions_gaps_and_units(tracks, tmp_path):
    write_tracks(tmp_path / "t.geff", tracks)
    graph, metadata = geff.read(tmp_path / "t.geff")
    assert [(a.name, a.type, a.scale, a.scaled_unit) for a in metadata.axes] == [
        ("t", "time", 60, "second"), ("y", "space", 0.5, "micrometer"), ("x", "space", 0.5, "micrometer"),
    ]  # fmt: skip
    ids = {node: values["track_id"] for node, values in graph.nodes(data=True)}
    links = sorted((ids[a], ids[b]) for a, b in graph.edges)
    assert links == [(1, 1), (1, 2), (1, 3), (2, 2), (3, 3), (4, 4), (4, 4)]
    first = next(values for node, values in graph.nodes(data=True) if values["track_id"] == 1)
    assert (first["t"], first["y"], first["area"]) == (0.0, 3.5, 16)


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


def test_masks_beyond_the_end_of_a_shorter_series_are_removed_and_other_files_stay(tracks, frames, tmp_path):
    folder = tmp_path / "RES"
    write_tracks(folder, tracks, frames)
    others = [folder / name for name in ("mask3.tiff", "mask0003.txt", "mask_0003.tif", "notes.txt")]
    for file in others:
        file.write_text("stays")
    write_tracks(folder, Tracks.measure(frames[:2]), frames[:2], overwrite=True)
    assert {file.name for file in folder.iterdir()} == {
        "mask0000.tif", "mask0001.tif", "res_track.txt", *(file.name for file in others),
    }  # fmt: skip
    others[2].unlink()  # the readers of such folders take it for a mask
    assert read_tracks(folder).ids == (1, 4)


def test_masks_beyond_the_end_stay_where_writing_fails_or_nothing_may_be_replaced(tracks, frames, tmp_path):
    folder = tmp_path / "RES"
    write_tracks(folder, tracks, frames)
    with pytest.raises(InputError, match="there are 2 frames"):
        write_tracks(folder, tracks, frames[:2], overwrite=True)
    (folder / "res_track.txt").unlink()
    for t in (0, 1):
        (folder / f"mask000{t}.tif").unlink()
    with pytest.raises(FileError, match=r"mask000[23].tif exists"):
        write_tracks(folder, Tracks.measure(frames[:2]), frames[:2])
    assert sorted(file.name for file in folder.iterdir()) == ["mask0002.tif", "mask0003.tif"]


def test_what_a_challenge_folder_cannot_say_is_told(tracks, frames, tmp_path):
    with pytest.raises(InputError, match="give the labels"):
        write_tracks(tmp_path / "RES", tracks)
    merged = Tracks.measure(frames, parents={2: (1, 4)})
    with pytest.raises(InputError, match="several parents"):
        write_tracks(tmp_path / "RES", merged, frames)


def test_tracks_are_read_back_from_a_table_and_a_graph(tracks, tmp_path):
    for name in ("t.csv", "t.geff"):
        write_tracks(tmp_path / name, tracks)
        found = read_tracks(tmp_path / name)
        np.testing.assert_array_equal(found.track, tracks.track)
        np.testing.assert_array_equal(found.frame, tracks.frame)
        np.testing.assert_allclose(found.centroid, tracks.centroid)
        np.testing.assert_array_equal(found.area, tracks.area)
        np.testing.assert_allclose(found.mean_intensity, tracks.mean_intensity)
        assert found.parents == tracks.parents
        assert found.axes == "tyx"
    assert (found.scale, found.units) == (tracks.scale, tracks.units)


def test_a_table_of_ultrack_is_read(tmp_path):
    """Its columns, and -1 for no parent; the number formats are those of pandas."""
    rows = ["track_id,t,z,y,x,id,parent_track_id,parent_id", "1,0,0.0,4.0,5.0,11,-1,-1", "1,1,0.0,4.5,5.0,12,-1,11"]
    rows += ["2,2,0.0,3.0,5.0,13,1.0,12", "3,2,0.0,6.0,5.0,14,1.0,12"]
    (tmp_path / "ultrack.csv").write_text("\n".join(rows))
    found = read_tracks(tmp_path / "ultrack.csv")
    assert found.ids == (1, 2, 3)
    assert found.divisions == {1: (2, 3)}
    assert found.axes == "tyx"
    np.testing.assert_allclose(found.centroid[found.rows(1)][:, 1], [4, 4.5])


def test_a_challenge_folder_is_read_back_where_a_gap_makes_an_only_child(tracks, frames, tmp_path):
    write_tracks(tmp_path / "RES", tracks, frames)
    found = read_tracks(tmp_path / "RES")
    assert found.ids == (1, 2, 3, 4, 5)
    assert found.parents == {2: (1,), 3: (1,), 5: (4,)}
    (tmp_path / "RES" / "res_track.txt").write_text("1 0 1 0\n2 2 3 1\n3 2 3 1\n4 0 2 0\n5 3 3 4\n")
    with pytest.raises(FileError, match=r"track 4 is in frames 0 to 1 of the masks, and in 0 to 2"):
        read_tracks(tmp_path / "RES")


def test_a_graph_of_another_program_is_cut_into_tracks_at_divisions(tmp_path):
    graph = networkx.DiGraph()
    for node, (t, y, x) in {10: (0, 5, 5), 11: (1, 6, 5), 12: (2, 4, 5), 13: (2, 9, 5), 14: (3, 4, 6)}.items():
        graph.add_node(node, time=t, y=float(y), x=float(x))
    graph.add_edges_from([(10, 11), (11, 12), (11, 13), (12, 14)])
    geff.write(graph, tmp_path / "g.geff", axis_names=["time", "y", "x"], axis_types=["time", "space", "space"])
    found = read_tracks(tmp_path / "g.geff")
    assert found.ids == (1, 2, 3)
    assert found.divisions == {1: (2, 3)}
    assert [found.begin(i) for i in found.ids] == [0, 2, 2]
    assert found.end(2) == 3


@pytest.mark.parametrize("name", ["t.csv", "t.geff", "folder"])
def test_what_is_no_tracks_is_refused(tmp_path, name):
    if name == "t.csv":
        (tmp_path / name).write_text("a,b\n1,2\n")
    else:
        (tmp_path / name).mkdir()
    with pytest.raises(FileError, match=name):
        read_tracks(tmp_path / name)
    with pytest.raises(FileError):
        read_tracks(tmp_path / "missing.csv")
