"""Discs that move, cross, divide, vanish, enter and leave; and balls in planes far apart."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_incontext_seg.core.objects import measure_objects
from napari_incontext_seg.errors import InputError
from napari_incontext_seg.infer.linking import Linking, link
from napari_incontext_seg.infer.motion import find_drift

SHAPE = (80, 100)
Disc = tuple[float, float, float]  # y, x, radius


def frame(discs: Sequence[Disc | None], shape: tuple[int, int] = SHAPE) -> NDArray[np.uint32]:
    """Discs with ids 1, 2, ... in their order; None is a disc that is not there."""
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.uint32)
    for number, disc in enumerate(discs, start=1):
        if disc is not None:
            labels[(y - disc[0]) ** 2 + (x - disc[1]) ** 2 <= disc[2] ** 2] = number
    return labels


def shuffled(frames: Sequence[NDArray[np.uint32]], seed: int = 0) -> list[NDArray[np.uint32]]:
    """The same objects with other ids in every frame."""
    rng = np.random.default_rng(seed)
    return [np.concatenate([[0], 1 + rng.permutation(50)]).astype(np.uint32)[f] for f in frames]


def true_ids(frames: Sequence[NDArray[np.uint32]], linking: Linking, given: Sequence[NDArray[np.uint32]]) -> list[set]:
    """For each track the ids of `frames` that it goes through."""
    through: dict[int, set[int]] = {}
    for t, labels in enumerate(frames):
        tracks = linking.apply(given[t], t)
        for i in measure_objects(labels).ids.tolist():
            through.setdefault(int(tracks[labels == i][0]), set()).add(i)
    return list(through.values())


def test_objects_keep_their_names_whatever_ids_the_frames_give_them() -> None:
    frames = [frame([(20, 10 + 3 * t, 6), (50, 80 - 2 * t, 7), (65, 20, 5)]) for t in range(10)]
    given = shuffled(frames)
    linking = link(given)
    assert true_ids(frames, linking, given) == [{1}, {2}, {3}]
    again = link(shuffled(frames, seed=1))
    assert [sorted(a) for a in true_ids(frames, again, shuffled(frames, seed=1))] == [[1], [2], [3]]
    table = linking.table()
    assert table.ids == (1, 2, 3)
    assert not table.parents
    assert np.nanmin(table.confidence) > 0.9


def test_fast_objects_that_cross_fly_on() -> None:
    frames = [frame([(30 + 2 * t, 10 + 8 * t, 4), (48 - 2 * t, 90 - 8 * t, 4), (70, 10 + 8 * t, 4)]) for t in range(10)]
    given = shuffled(frames)
    assert true_ids(frames, link(given), given) == [{1}, {2}, {3}]


def test_a_division_ends_the_mother_and_names_her_as_parent() -> None:
    frames = [frame([(40, 50, 9), (15, 15, 8)])] * 4
    frames += [frame([None, (15, 15, 8), (40 - 4 - t, 50 - t, 6), (40 + 4 + t, 50 + t, 6)]) for t in range(1, 5)]
    given = shuffled(frames)
    linking = link(given)
    assert true_ids(frames, linking, given) == [{1}, {2}, {3}, {4}]
    tracks = linking.table()
    (mother, daughters), *others = tracks.divisions.items()
    assert not others
    assert (tracks.begin(mother), tracks.end(mother)) == (0, 3)
    assert [tracks.begin(d) for d in daughters] == [4, 4]
    assert not link(given, divisions=False).parents


def test_a_newcomer_beside_another_is_no_daughter() -> None:
    frames = [frame([(40, 40, 8)])] * 3 + [frame([(40, 40, 8), (40, 57, 8)])] * 3  # nobody has shrunk
    assert not link(frames).parents


def test_what_falls_apart_for_one_frame_has_not_divided() -> None:
    apart = frame([(36, 50, 5), (45, 50, 5)])
    frames = [frame([(40, 50, 9)])] * 3 + [apart] + [frame([(40, 50, 9)])] * 3
    assert not link(frames).parents


def test_gaps_are_closed_up_to_max_gap() -> None:
    whole = [[(20.0, 10.0 + 3 * t, 6.0), (60.0, 50.0, 6.0)] for t in range(8)]
    frames = [frame([None if t == 4 else a, b]) for t, (a, b) in enumerate(whole)]
    tracks = link(shuffled(frames)).table()
    assert sorted(tracks.gaps(i) for i in tracks.ids) == [[], [(3, 5)]]
    assert len(link(frames, max_gap=0).table().ids) == 3


def test_objects_enter_and_leave() -> None:
    frames = [frame([(20, 10, 6) if t < 4 else None, (60, 90, 6) if t > 4 else None, (40, 50, 6)]) for t in range(9)]
    given = shuffled(frames)
    tracks = link(given).table()
    assert true_ids(frames, link(given), given) == [{1}, {3}, {2}]
    assert sorted((tracks.begin(i), tracks.end(i)) for i in tracks.ids) == [(0, 3), (0, 8), (5, 8)]


def test_drift_of_the_whole_frame_is_registered() -> None:
    rng = np.random.default_rng(3)
    places = [(y, x) for y in range(20, 140, 24) for x in range(20, 140, 24)]
    at = [(y + rng.uniform(-5, 5), x + rng.uniform(-5, 5)) for y, x in places]
    jumps = np.cumsum([(0, 0), (2, 1), (15, -11), (1, 0), (-14, 12)], axis=0)
    frames = [frame([(y + dy, x + dx, 6) for y, x in at], (160, 160)) for dy, dx in jumps]
    given = shuffled(frames)
    linking = link(given)
    np.testing.assert_allclose(linking.drift[2], (0, 15, -11), atol=1)
    assert all(len(ids) == 1 for ids in true_ids(frames, linking, given))
    images = [f.astype(np.float32) + rng.random(f.shape, np.float32) for f in (g > 0 for g in frames)]
    np.testing.assert_allclose(find_drift(images[1], images[2]), (0, 15, -11), atol=1)
    np.testing.assert_array_equal(find_drift(np.ones((20, 20)), np.ones((20, 20))), 0)


def test_a_confirmed_link_is_kept_and_pushes_others_aside() -> None:
    still = [frame([(40, 30, 6), (40, 50, 6)])] * 4
    linking = link(still, confirmed=[(1, 1, 2, 2), (1, 2, 2, 1)])  # the two change places, says the user
    assert [t.tolist() for t in linking.tracks] == [[1, 2], [1, 2], [2, 1], [2, 1]]
    assert linking.confidence[2].tolist() == [1, 1]
    over_a_gap = [still[0], frame([None, (40, 50, 6)]), frame([None, (40, 50, 6)]), frame([(70, 90, 6), (40, 50, 6)])]
    assert [t.tolist() for t in link(over_a_gap, confirmed=[(0, 1, 3, 1)]).tracks] == [[1, 2], [2], [2], [1, 2]]


def test_a_confirmed_division_is_kept() -> None:
    frames = [frame([(40, 40, 8)]), frame([(40, 40, 8), (40, 57, 8)]), frame([(40, 40, 8), (40, 57, 8)])]
    tracks = link(frames, confirmed=[(0, 1, 1, 1), (0, 1, 1, 2)]).table()
    assert tracks.divisions == {1: (2, 3)}


def test_daughters_of_a_confirmed_division_may_begin_in_different_frames() -> None:
    alone, late = frame([(40, 40, 8)]), frame([(40, 40, 8), (40, 57, 8)])
    tracks = link([alone, alone, late], confirmed=[(0, 1, 1, 1), (0, 1, 2, 2)]).table()
    assert tracks.divisions == {1: (2, 3)}
    assert [tracks.begin(i) for i in tracks.ids] == [0, 1, 2]


def test_a_confirmed_link_over_a_gap_and_one_into_it_are_one_track() -> None:
    frames = [frame([(40, 40, 8)])] * 3
    assert link(frames, confirmed=[(0, 1, 2, 1), (0, 1, 1, 1)]).table().ids == (1,)
    given = [frames[0], np.uint32(2) * frames[0], np.uint32(3) * frames[0]]  # what other links say is one object
    assert link(given, confirmed=[(0, 1, 1, 2), (1, 2, 2, 3), (0, 1, 2, 3)]).table().ids == (1,)


def test_a_mother_may_be_said_to_go_on_before_a_confirmed_division() -> None:
    late = np.array([0, 2, 3], np.uint32)[frame([(40, 40, 8), (40, 57, 8)])]
    frames = [frame([(40, 40, 8)]), frame([(40, 40, 8)]), late]
    tracks = link(frames, confirmed=[(0, 1, 1, 1), (0, 1, 2, 2), (0, 1, 2, 3)]).table()
    assert tracks.divisions == {1: (2, 3)}
    assert (tracks.begin(1), tracks.end(1)) == (0, 1)


def test_named_frames_give_tracks_their_ids() -> None:
    frames = [frame([(20, 10 + 3 * t, 6), (50, 80 - 2 * t, 7)]) for t in range(6)]
    given = [np.array([0, 30, 17], np.uint32)[frames[0]], *frames[1:5], np.array([0, 17, 30], np.uint32)[frames[5]]]
    tracks = link(given, named={0: [30, 17]})
    assert [t.tolist() for t in tracks.tracks] == [[17, 30], *[[30, 17]] * 4, [30, 17]]
    swapped = link(given, named={0: [30, 17], 5: [17, 30]})  # named otherwise in the last frame: no way but to jump
    assert swapped.tracks[0].tolist() == swapped.tracks[5].tolist() == [17, 30]
    assert swapped.table().ids == (17, 30)


def test_a_correction_reaches_back_to_where_the_track_went_wrong() -> None:
    """Two discs come close in frame 5 and part again: whether they crossed or turned, the user tells in frame 10."""
    meeting = [abs(5 - t) * 4.0 + 6 for t in range(11)]
    frames = [frame([(40, 50 - d, 5), (40, 50 + d, 5)]) for d in meeting]
    turned = link(frames, named={0: [1, 2], 10: [1, 2]})
    assert [t.tolist() for t in turned.tracks] == [[1, 2]] * 11
    given = [*frames[:10], np.array([0, 2, 1], np.uint32)[frames[10]]]
    crossed = link(given, named={0: [1, 2], 10: [1, 2]})
    assert crossed.tracks[10].tolist() == [1, 2]
    changed = [t for t in range(1, 10) if crossed.tracks[t].tolist() != [1, 2]]
    assert changed[0] in (5, 6)  # where they met, not where it was told
    assert changed == list(range(changed[0], 10))


def test_contradictions_are_told() -> None:
    frames = [frame([(20, 20, 6), (50, 50, 6)])] * 3
    with pytest.raises(InputError, match="both said to be the same track"):
        link(frames, confirmed=[(0, 1, 2, 1), (0, 1, 1, 1), (1, 1, 2, 2)])
    with pytest.raises(InputError, match="names of their own"):
        link(frames, named={0: [1], 1: [2]}, confirmed=[(0, 1, 1, 2)])
    with pytest.raises(InputError, match="to a later one"):
        link(frames, confirmed=[(1, 1, 0, 1)])


def test_empty_frames_and_settings() -> None:
    nothing = np.zeros(SHAPE, np.uint32)
    assert len(link([nothing, nothing]).table()) == 0
    one = frame([(20, 20, 6)])
    assert link([nothing, one, nothing, nothing, nothing, one]).table().ids == (1, 2)
    for wrong in ({"max_gap": -1}, {"max_distance": 0}, {"spacing": (1,)}, {"images": [nothing]}, {"along": "x"}):
        with pytest.raises(InputError):
            link([one, one], **wrong)
    with pytest.raises(InputError, match="not linked"):
        link([one, one]).apply(one * 7, 0)


def test_an_image_with_holes_hinders_nothing() -> None:
    frames = [frame([(20, 10 + 3 * t, 6), (50, 80 - 2 * t, 7)]) for t in range(6)]
    images = [np.where(f > 0, 5.0, 1.0) for f in frames]
    images[3][15:25] = np.nan
    images[4][:, :3] = np.inf
    assert [t.tolist() for t in link(frames, images=images).tracks] == [[1, 2]] * 6


def balls(centres: Sequence[tuple[float, float, float]], radius: float, step: float) -> NDArray[np.uint32]:
    """Balls in planes that are `step` pixels apart."""
    z, y, x = np.indices((round(70 / step), 60, 60)).astype(float)
    labels = np.zeros(z.shape, np.uint32)
    for number, (cz, cy, cx) in enumerate(centres, start=1):
        labels[(z * step - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = number
    return labels


@pytest.mark.parametrize("step", [1.0, 6.0], ids=["fine", "coarse"])
def test_planes_become_3d_objects_and_cells_on_top_of_each_other_stay_two(step: float) -> None:
    volume = balls([(18, 20, 20), (46, 26, 28), (32, 20, 48)], 13, step)
    given = shuffled(list(volume))
    linking = link(given, along="z", spacing=(step, 1, 1))
    assert all(len(ids) == 1 for ids in true_ids(list(volume), linking, given))
    assert len(true_ids(list(volume), linking, given)) == 3


def test_distances_in_volumes_respect_the_spacing() -> None:
    """Two planes up are 20 µm: the neighbour 6 µm away is nearer."""
    moves = [np.zeros((8, 60, 60), np.uint32) for _ in range(2)]
    moves[0][1:3, 20:26, 20:26] = 1
    moves[1][4:6, 20:26, 20:26] = 1
    moves[1][1:3, 20:26, 28:34] = 2
    linking = link(moves, spacing=(10, 1, 1), max_distance=35)
    assert linking.tracks[1].tolist() == [2, 1]


def test_the_library_is_loaded_only_when_objects_compete() -> None:
    code = (
        "import numpy as np, sys; from napari_incontext_seg.infer.linking import link\n"
        "link(np.pad(np.ones((2, 3, 3), int), ((0, 0), (2, 2), (2, 2)))); print('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_well_known_objects_that_run_together_are_parted_again() -> None:
    apart = [frame([(40, 30 + t, 9), (40, 56 - t, 9)]) for t in range(7)]
    touching = [f if t < 5 else (f > 0).astype(np.uint32) for t, f in enumerate(apart)]  # one blob from frame 5 on
    parted: dict[int, NDArray[np.uint32]] = {}

    class Frames(list):
        def __getitem__(self, t):
            return parted.get(t, super().__getitem__(t))

    given = Frames(touching)
    linking = link(given, part=parted.__setitem__)
    assert linking.table().ids == (1, 2)
    assert sorted(parted) == [5, 6]
    for t, labels in parted.items():
        assert (linking.apply(labels, t) != apart[t]).mean() < 0.01
    unchanged = link(touching).table()  # labels that may not be changed stay as they are: one of the two ends
    assert sorted(unchanged.end(i) for i in unchanged.ids) == [4, 6]


def test_parts_get_an_id_that_is_free_where_the_highest_is_taken() -> None:
    apart = [frame([(40, 30 + t, 9), (40, 56 - t, 9)]) for t in range(6)]
    touching = [f if t < 5 else np.where(f > 0, np.uint32(2**32 - 1), f) for t, f in enumerate(apart)]
    parted: dict[int, NDArray[np.uint32]] = {}
    link(touching, part=parted.__setitem__)
    assert np.unique(parted[5]).tolist() == [0, 1, 2**32 - 1]


def test_one_cell_that_was_two_pieces_stays_one_where_it_has_no_waist() -> None:
    whole = frame([(40, 50, 12), (20, 15, 12), (62, 85, 12), (18, 80, 12)])
    pieces = np.where((whole == 1) & (np.indices(SHAPE)[1] > 50), np.uint32(5), whole)
    parted: list[int] = []
    link([pieces] * 4 + [whole] * 3, part=lambda t, _: parted.append(t))
    assert not parted


def test_frames_of_different_shape_cannot_be_linked():
    with pytest.raises(InputError, match="one shape"):
        link([np.ones((8, 9), np.uint32), np.ones((8, 9), np.uint32), np.ones((9, 9), np.uint32)])


def test_a_frame_without_planes_is_refused():
    with pytest.raises(InputError, match="at least one plane"):
        measure_objects(np.ones((0, 8, 9), np.uint32))


def test_a_mask_is_one_object():
    mask = np.zeros((8, 9), bool)
    mask[2:4, 3:6] = True
    found = measure_objects(mask)
    assert found.ids.tolist() == [1]
    assert found.area.tolist() == [6]
