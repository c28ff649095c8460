"""The picture of a lineage shows each track where and when it lives."""

from __future__ import annotations

import numpy as np

from napari_incontext_seg.core.tracks import Tracks
from napari_incontext_seg.io.lineage import TALLEST, WIDTH, lineage_order, lineage_picture


def tracks_of(lives: dict[int, tuple[int, int]], parents: dict[int, tuple[int, ...]] | None = None) -> Tracks:
    rows = [(track, frame) for track, (begin, end) in lives.items() for frame in range(begin, end + 1)]
    track, frame = np.array(rows).reshape(-1, 2).T
    return Tracks(track, frame, np.zeros((len(rows), 3)), np.ones(len(rows)), parents=parents or {})


def test_a_mother_stands_between_her_daughters_and_large_families_first():
    tracks = tracks_of(
        {1: (0, 9), 2: (0, 3), 3: (4, 9), 4: (4, 6), 5: (7, 9), 6: (7, 9)}, {3: (2,), 4: (2,), 5: (4,), 6: (4,)}
    )
    assert lineage_order(tracks) == [3, 2, 5, 4, 6, 1]


def test_lines_are_drawn_in_the_time_that_a_track_lives():
    early, late = tracks_of({1: (0, 1), 2: (9, 9)}), tracks_of({1: (8, 9), 2: (0, 0)})
    bright = [np.flatnonzero((lineage_picture(t)[72:90] == (230, 159, 0)).all(-1).any(0)) for t in (early, late)]
    assert bright[0].max() < WIDTH / 3
    assert bright[0].min() < bright[1].max()


def test_no_tracks_and_thousands_of_tracks_have_a_picture():
    assert lineage_picture(tracks_of({})).shape[1] == WIDTH
    many = lineage_picture(tracks_of(dict.fromkeys(range(1, 3001), (0, 1))))
    assert many.shape[0] <= TALLEST
