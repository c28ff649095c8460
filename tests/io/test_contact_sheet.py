"""The overlay picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.io.picture import _COLOURS, Panel, contact_sheet, save_png


def panel(shape: tuple[int, int] = (40, 50), channels: int = 1, annotated: bool = False) -> Panel:
    labels = np.zeros(shape, np.uint32)
    labels[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = 1
    return Panel(np.full((*shape, channels), 0.5, np.float32), labels, "slice 3  83% sure", annotated)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 12])
@pytest.mark.parametrize("shape", [(40, 50), (1, 1), (1, 300), (300, 1), (1500, 2500)])
def test_any_number_of_planes_of_any_size_fits_the_width(count: int, shape: tuple[int, int]) -> None:
    picture = contact_sheet([panel(shape)] * count)
    assert picture.dtype == np.uint8
    assert picture.shape[1] <= 2000
    assert picture.shape[2] == 3


def test_objects_are_outlined_and_the_annotated_plane_is_framed() -> None:
    plain, marked = contact_sheet([panel()]), contact_sheet([panel(annotated=True)])
    outline = 0.95 * _COLOURS[0] + 0.05 * 128

    assert (np.abs(plain.astype(float) - outline).max(axis=2) < 2).sum() > 100
    assert (marked == (255, 196, 61)).all(axis=2).sum() > 1000
    assert not (plain == (255, 196, 61)).all(axis=2).any()


def test_planes_of_different_sizes_and_colours_share_a_sheet() -> None:
    assert contact_sheet([panel(), panel((90, 30), channels=3)]).shape[1] <= 2000


def test_largest_ids_have_a_colour_too() -> None:
    labels = np.full((8, 8), 2**32 - 1, np.uint32)
    assert contact_sheet([Panel(np.zeros((8, 8, 1), np.float32), labels, "")]).max() > 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="at least one slice"):
        contact_sheet([])
    with pytest.raises(InputError, match="must match the plane"):
        Panel(np.zeros((4, 4, 1), np.float32), np.zeros((5, 5), int), "")


def test_a_picture_is_saved_and_not_replaced(tmp_path: Path) -> None:
    picture = contact_sheet([panel()])
    save_png(picture, tmp_path / "new" / "p.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "p.png")), picture)
    with pytest.raises(FileError, match="exists"):
        save_png(picture, tmp_path / "new" / "p.png")
    save_png(picture, tmp_path / "new" / "p.png", overwrite=True)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["p.png"]
