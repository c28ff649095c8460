"""Objects that touch come apart, and those that only look narrow stay whole: the example says which is which."""

from __future__ import annotations

import numpy as np
from skimage.draw import disk, line

from napari_incontext_seg.core.metrics import average_precision
from napari_incontext_seg.core.splitting import Splitting
from napari_incontext_seg.core.types import Example


def discs(*centres: tuple[int, int], radius: int = 10) -> np.ndarray:
    labels = np.zeros((100, 100), np.uint32)
    for number, centre in enumerate(centres, start=1):
        labels[disk(centre, radius, shape=labels.shape)] = number
    return labels


def dumbbells() -> np.ndarray:
    """Objects that each have a waist narrower than half of their ends."""
    labels = np.zeros((100, 100), np.uint32)
    for number, y in enumerate((20, 50, 80), start=1):
        for x in (30, 54):
            labels[disk((y, x), 10, shape=labels.shape)] = number
        labels[y - 2 : y + 3, 30:54] = number
    return labels


def splitting(labels: np.ndarray) -> Splitting:
    return Splitting.of([Example(np.zeros(labels.shape, np.float32), labels)])


def test_discs_that_touch_come_apart() -> None:
    split = splitting(discs((20, 20), (20, 70), (70, 20), (70, 38)))
    found = split(discs((30, 30), (30, 48), (70, 70)) > 0)
    assert len(np.unique(found)) == 4
    assert found[30, 30] != found[30, 48]


def test_every_pixel_of_a_large_enough_piece_belongs_to_an_object() -> None:
    mask = discs((30, 30), (30, 48), (70, 70)) > 0
    np.testing.assert_array_equal(splitting(discs((20, 20), (70, 70)))(mask) > 0, mask)


def test_objects_with_a_waist_stay_whole_where_the_example_shows_such_objects() -> None:
    labels = dumbbells()
    assert len(np.unique(splitting(labels)(labels > 0))) == 4
    assert len(np.unique(splitting(discs((20, 20), (70, 70)))(labels > 0))) == 7


def test_what_is_far_smaller_than_the_smallest_of_many_objects_is_none() -> None:
    mask = discs((30, 30)) > 0
    mask[80, 80] = True
    found = splitting(discs((20, 20), (20, 50), (50, 20), (50, 70), (80, 45)))(mask)
    assert found.max() == 1
    assert found[80, 80] == 0
    assert splitting(discs((20, 20), (70, 70)))(mask).max() == 2, "two objects do not tell how small one may be"


def test_one_long_object_stays_whole() -> None:
    labels = np.zeros((100, 100), np.uint32)
    labels[10:16, 5:95] = 1
    labels[40:46, 5:95] = 2
    split, mask = splitting(labels), np.zeros((100, 100), bool)
    rows, columns = line(5, 10, 90, 80)
    for shift in range(-3, 4):
        mask[rows, columns + shift] = True
    assert split(mask).max() == 1


def test_ids_of_the_example_do_not_matter() -> None:
    labels = discs((20, 20), (20, 38), (70, 20), (70, 70))
    assert splitting(labels) == splitting(np.array([0, 40, 7, 2**31, 3], np.uint32)[labels])


def test_an_empty_plane_has_no_objects() -> None:
    assert not splitting(discs((20, 20)))(np.zeros((50, 60), bool)).any()


def tissue(seed: int = 0) -> np.ndarray:
    """Cells without background between them, and the walls that a microscope sees."""
    points = np.random.default_rng(seed).uniform(0, 100, (20, 2))
    y, x = np.indices((100, 100))
    return 1 + np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in points], axis=0).astype(np.uint32)


def test_borders_are_painted_where_objects_share_their_outlines() -> None:
    labels = tissue()
    split = splitting(labels)
    classes = split.classes(labels)
    assert split.border > 0
    assert set(np.unique(classes)) == {1, 2}
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        meet = labels[one] != labels[other]
        assert (classes[one][meet] == 2).all()
        assert (classes[other][meet] == 2).all()


def test_cells_of_a_tissue_come_apart_and_cover_it() -> None:
    split, labels = splitting(tissue()), tissue(seed=1)
    found = split(split.classes(labels))
    assert (found > 0).mean() > 0.95
    assert average_precision(found, labels) > 0.8


def test_a_border_with_a_gap_still_parts_two_cells() -> None:
    split, labels = splitting(tissue()), np.ones((100, 100), np.uint32)
    labels[:, 50:] = 2
    painted = split.classes(labels)
    painted[48:53] = 1
    found = split(painted)
    assert found[50, 10] != found[50, 90]


def test_few_contacts_are_no_tissue() -> None:
    split = splitting(discs((20, 20), (20, 38), (70, 20), (70, 70)))
    assert split.border == 0
    assert set(np.unique(split.classes(discs((20, 20))))) == {0, 1}
