"""The table of tracks, its filter, doubtful links, and tracks of a file laid onto labels."""

import numpy as np
import pytest

from napari_incontext_seg.core.tracks import Tracks
from napari_incontext_seg.errors import InputError
from napari_incontext_seg.session.track_placing import place_tracks
from napari_incontext_seg.session.track_table import TrackTable, doubtful_links


@pytest.fixture
def tracks():
    """1 divides into 2 and 3 after frame 1; 4 comes in frame 2."""
    return Tracks(
        [1, 1, 2, 2, 3, 4, 4],
        [0, 1, 2, 3, 2, 2, 3],
        np.zeros((7, 3)),
        [10, 20, 5, 7, 6, 30, 30],
        [1, 3, 5, 5, 6, np.nan, np.nan],
        [np.nan, 0.4, 0.9, 0.2, 0.7, 0.1, 1],
        {2: (1,), 3: (1,)},
    )


def test_a_row_tells_what_is_known_of_a_track(tracks):
    table = TrackTable(tracks)
    texts = {name: table.text(0, name) for name in ("track", "from", "until", "parent", "daughters", "size")}
    assert texts == {"track": "1", "from": "0", "until": "1", "parent": "", "daughters": "2, 3", "size": "15"}
    assert table.text(0, "intensity") == "2"
    assert table.text(3, "intensity") == ""
    assert table.text(1, "parent") == "1"
    assert table.text(1, "confidence") == "0.20"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("2, 4", [2, 4]),
        ("confidence < 0.5", [1, 2, 4]),
        ("confidence<0.5 and from>=2", [2, 4]),
        ("parent = 1", [2, 3]),
        ("frames = 1", [3]),
        ("id != 3, size > 10", [1, 4]),
    ],
)
def test_filters(tracks, words, expected):
    table = TrackTable(tracks)
    assert table.ids[table.matching(words)].tolist() == expected


@pytest.mark.parametrize("words", ["cells", "weight < 3", "confidence <", "__import__ > 1"])
def test_what_is_no_filter_is_refused(tracks, words):
    with pytest.raises(InputError, match="no filter"):
        TrackTable(tracks).matching(words)


def test_doubtful_links_come_least_sure_first_and_beginnings_are_none(tracks):
    assert [link[:2] for link in doubtful_links(tracks)] == [(2, 3), (1, 1), (3, 2), (2, 2)]


def two_cells():
    labels = np.zeros((3, 20, 40), np.uint16)
    labels[:, 4:10, 4:10], labels[:, 4:10, 24:30] = 1, 2
    labels[1][labels[1] > 0] = 3 - labels[1][labels[1] > 0]  # ids are swapped in frame 1
    labels[2, 14:18, 14:18] = 9
    return labels


def test_tracks_are_laid_onto_labels_by_position_where_ids_differ():
    labels, out = two_cells(), np.zeros((3, 20, 40), np.uint32)
    file = Tracks(
        [5, 5, 5, 6, 6, 6, 7],
        [0, 1, 2, 0, 1, 2, 2],
        [[0, 6.5, 6.5]] * 3 + [[0, 6.5, 26.5]] * 3 + [[0, 1, 38]],
        [36] * 7,
        parents={7: (5,)},
    )
    placed = place_tracks(file, 3, labels.__getitem__, out.__setitem__)
    assert (out[:, 5, 5] == 5).all()
    assert (out[:, 5, 25] == 6).all()
    assert (placed.missing, placed.added) == (1, 1)
    assert out[2, 15, 15] == 8
    assert placed.tracks.parents == {}  # 7 lies on nothing


def test_an_object_that_has_the_id_of_another_track_by_chance_is_not_taken_for_it():
    labels, out = np.zeros((1, 40, 40), np.uint16), np.zeros((1, 40, 40), np.uint32)
    labels[0, 4:14, 4:14], labels[0, 4:14, 16:26] = 2, 1
    file = Tracks([1, 2], [0, 0], [[0, 8.5, 8.5], [0, 8.5, 20.5]], [100, 100])
    placed = place_tracks(file, 1, labels.__getitem__, out.__setitem__)
    assert (out[0, 8, 8], out[0, 8, 20]) == (1, 2)
    assert placed.missing == placed.added == 0


def test_tracks_of_something_else_are_refused():
    labels, out = two_cells(), np.zeros((3, 20, 40), np.uint32)
    for frame, y in ((8, 6.5), (1, 18)):
        file = Tracks([5], [frame], [[0, y, 38]], [36])
        with pytest.raises(InputError):
            place_tracks(file, 3, labels.__getitem__, out.__setitem__)
