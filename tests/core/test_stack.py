"""Stack: any axes, one plane at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_incontext_seg.core.normalize import Normalization
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import InputError


class Watched:
    """An array-like that counts what is read of it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.reads = shape, np.dtype(np.uint8), 0

    def __getitem__(self, index: Any) -> Any:
        self.reads += 1
        planes = [n for n, i in zip(self.shape, index, strict=True) if isinstance(i, slice)]
        numbers = [int(i) for i in index if not isinstance(i, slice)]
        return np.full(planes, sum(numbers) % 256, np.uint8)


@pytest.mark.parametrize("axes", ["tzyxc", "czyxt", "xytcz", "ctxzy"])
def test_planes_are_the_same_in_any_order_of_axes(axes: str) -> None:
    data = np.random.default_rng(0).integers(0, 255, (2, 3, 5, 4, 2)).astype(np.uint8)  # tzyxc
    stack = Stack(data.transpose(["tzyxc".index(a) for a in axes]), axes)
    assert stack.plane_shape == (5, 4)
    assert len(stack) == 6
    assert stack.grid == tuple({"t": 2, "z": 3}[a] for a in stack.plane_axes)
    for position in range(6):
        at = dict(zip(stack.plane_axes, stack.unravel(position), strict=True))
        assert np.array_equal(stack.read(position), data[at["t"], at["z"]])


def test_planes_are_read_only_when_asked_and_one_at_a_time() -> None:
    data = Watched((1000, 6, 7))
    stack = Stack(data, "zyx", normalization=Normalization((0,), (255,)))
    assert len(stack) == 1000
    assert data.reads == 0
    stack.plane(3)
    assert data.reads == 1
    Stack(data, "zyx").normalized()
    assert data.reads <= 10


def test_a_single_image_is_a_stack_of_one() -> None:
    stack = Stack(np.eye(4), "yx").normalized()
    assert len(stack) == 1
    assert stack.grid == ()
    assert stack.plane(0).shape == (4, 4, 1)
    with pytest.raises(InputError, match=r"slice 1 does not exist.*0\.\.0"):
        stack.plane(1)
    with pytest.raises(InputError, match="slice -1"):
        stack.plane(-1)


def test_channels_are_chosen_in_order_mixed_or_the_first_three() -> None:
    data = np.zeros((5, 4, 4), np.float32)
    data += np.arange(5, dtype=np.float32)[:, None, None] / 4
    fixed = Normalization((0,) * 5, (1,) * 5)

    def colour(**choice: Any) -> list[float]:
        return [float(v) for v in Stack(data, "cyx", normalization=fixed, **choice).plane(0)[0, 0]]

    assert colour() == [0, 0.25, 0.5]
    assert colour(channels=(4,)) == [1]
    assert colour(channels=(4, 2)) == [1, 0.5, 0]  # two are shown as red and green
    assert colour(channels=(4, 0, 2)) == [1, 0, 0.5]
    assert colour(mix=np.full((5, 1), 0.2)) == [pytest.approx(0.5)]
    assert colour(mix=np.ones((5, 3))) == [1, 1, 1]


def test_alpha_is_never_shown() -> None:
    data = np.random.default_rng(0).integers(0, 255, (8, 8, 4)).astype(np.uint8)
    assert Stack(data, "yxs").used_channels == (0, 1, 2)
    assert Stack(data[..., :2], "yxs").used_channels == (0,)
    assert Stack(data[..., :2], "yxc").used_channels == (0, 1)


def test_a_value_range_is_fitted_once_and_can_be_given() -> None:
    stack = Stack(np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3), "zyx")
    with pytest.raises(InputError, match="normalized"):
        stack.plane(0)
    fitted = stack.normalized()
    assert fitted.normalized() is fitted
    assert stack.normalized(Normalization((0,), (34,))).plane(1).max() == 0.5
    with pytest.raises(ValueError, match="read-only"):
        fitted.plane(0)[0, 0] = 1


def test_planes_are_matched_by_their_letters_in_whatever_order() -> None:
    data = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    mine = Stack(data, "tzyx", scale=(9, 2, 1, 1))
    other = Stack(np.zeros((3, 2, 4, 5), np.uint8), "ztyx")
    found = mine.ordered_like(other)
    assert (found.axes, found.grid, found.scale) == ("ztyx", (3, 2), (2, 9, 1, 1))
    for position in range(6):
        z, t = other.unravel(position)
        np.testing.assert_array_equal(found.read(position)[..., 0], data[t, z])
    np.testing.assert_array_equal(found.data[1, :, :, 2], data[:, 1, :, 2])
    odd = Stack(data.transpose(2, 0, 3, 1), "ytxz")
    np.testing.assert_array_equal(odd.ordered_like(other).read(3), found.read(3))
    np.testing.assert_array_equal(odd.ordered_like(other).data[:, 1, :, 0], data[0, 1])


@pytest.mark.parametrize(("axes", "named"), [("tzyx", True), ("ptyx", True), ("ztyx", True), ("ztyx", False)])
def test_other_planes_and_such_of_guessed_axes_stay_as_they_are(axes: str, named: bool) -> None:
    mine = Stack(np.zeros((2, 3, 4, 5), np.uint8), "tzyx", named=named)
    shape = (2, 3, 4, 5) if named else (3, 2, 4, 5)
    assert mine.ordered_like(Stack(np.zeros(shape, np.uint8), axes)) is mine


def test_samples_are_spread_over_the_stack() -> None:
    assert Stack(np.zeros((100, 2, 2)), "zyx").sample_positions(3) == [0, 50, 99]  # 49.5 rounds to even
    assert Stack(np.zeros((2, 2, 2)), "zyx").sample_positions() == [0, 1]


@pytest.mark.parametrize(
    ("units", "scale", "spacing"),
    [
        (("", "", ""), (1, 2, 3), None),
        (("", "pixel", "pixel"), (1, 2, 3), None),
        (("", "micrometer", "micrometer"), (1, 2, -3), (2, 3)),
        (("", "micrometer", "micrometer"), (1, 0, 3), None),
        (("", "micrometer", "micrometer"), (1, 2, float("nan")), None),
    ],
)
def test_pixel_size_is_known_only_when_the_file_says_so(units: Any, scale: Any, spacing: Any) -> None:
    assert Stack(np.zeros((2, 3, 3)), "zyx", scale, units).spacing == spacing


@pytest.mark.parametrize(
    ("data", "axes", "options", "words"),
    [
        (np.zeros((2, 3)), "zyx", {}, "each of the 2 axes"),
        (np.zeros((2, 3, 3)), "yyx", {}, "once"),
        (np.zeros((2, 3, 3)), "zty", {}, "y and x"),
        (np.zeros((2, 3, 3, 3)), "cyxs", {}, "at most one"),
        (np.zeros((0, 3, 3)), "zyx", {}, "empty"),
        (np.zeros((3, 3), complex), "yx", {}, "complex"),
        (np.zeros((3, 3)), "yx", {"scale": (1.0,)}, "scale"),
        (np.zeros((3, 3, 2)), "yxc", {"channels": (2,)}, r"0\.\.1"),
        (np.zeros((3, 3, 2)), "yxc", {"channels": ()}, "one to three"),
        (np.zeros((3, 3, 2)), "yxc", {"mix": np.ones((3, 1))}, "mix"),
        (np.zeros((3, 3, 2)), "yxc", {"mix": np.full((2, 1), np.nan)}, "finite"),
        (np.zeros((3, 3, 2)), "yxc", {"mix": np.ones((2, 1)), "channels": (0,)}, "not both"),
    ],
)
def test_a_bad_stack_is_refused(data: Any, axes: str, options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Stack(data, axes, **options)
