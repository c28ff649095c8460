"""Value ranges: fitted on raw data of any dtype, and never a NaN in a plane."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_incontext_seg.core.normalize import Normalization, fit_normalization
from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import DegradedDataWarning, InputError

DTYPES = ["uint8", "uint16", "uint32", "int16", "int32", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_uses_the_whole_range(dtype: str) -> None:
    low, high = (-100, 27) if dtype == "int16" else (3, 120)
    data = np.linspace(low, high, 4 * 32 * 32).astype(dtype).reshape(4, 32, 32)
    planes = [Stack(data, "zyx").normalized().plane(z) for z in range(4)]
    assert planes[0].dtype == np.float32
    assert planes[0].min() == 0
    assert planes[3].max() == 1
    assert all(a.mean() < b.mean() for a, b in pairwise(planes))


def test_bool_becomes_zero_and_one() -> None:
    data = np.eye(8, dtype=bool)[None]
    assert np.array_equal(Stack(data, "zyx").normalized().plane(0)[..., 0], data[0])


@pytest.mark.parametrize("dtype", ["uint32", "float64"])
def test_large_offsets_keep_their_contrast(dtype: str) -> None:
    """Near 4e9 float32 steps by 256: computed in float32 these values would all be one."""
    data = (np.arange(64).reshape(1, 8, 8) + 4_000_000_000).astype(dtype)
    assert len(np.unique(Stack(data, "zyx").normalized().plane(0))) > 60


def test_outliers_do_not_set_the_range() -> None:
    data = np.random.default_rng(0).integers(100, 200, (3, 64, 64)).astype(np.uint16)
    data[1, 5, 5] = 65535
    fitted = fit_normalization(Stack(data, "zyx"))
    assert 100 <= fitted.low[0] < fitted.high[0] < 200


def test_a_nearly_empty_image_keeps_its_few_bright_pixels() -> None:
    data = np.zeros((2, 100, 100), np.uint16)
    data[1, :3, :3] = 500
    assert Stack(data, "zyx").normalized().plane(1)[0, 0, 0] == 1


def test_rgb_shares_one_range_and_channels_do_not() -> None:
    data = np.random.default_rng(0).integers(0, 50, (32, 32, 4)).astype(np.uint8)
    data[..., 1] += 100
    data[..., 3] = 255
    rgb = fit_normalization(Stack(data, "yxs"))
    assert len({(rgb.low[c], rgb.high[c]) for c in range(3)}) == 1
    channels = fit_normalization(Stack(data, "yxc"))
    assert channels.low[1] == pytest.approx(channels.low[0] + 100, abs=2)


def test_not_finite_values_are_reported_and_repaired() -> None:
    data = np.linspace(0, 1, 300, dtype=np.float32).reshape(3, 10, 10)
    data[1, 0, :3] = np.nan, np.inf, -np.inf
    with pytest.warns(DegradedDataWarning, match="NaN") as caught:
        stack = Stack(data, "zyx", name="cells").normalized()
    assert len(caught) == 1
    assert stack.plane(1)[0, :3, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize("value", [0, 7, 1e30])
def test_a_constant_image_is_black_and_reported(value: float) -> None:
    with pytest.warns(DegradedDataWarning, match="constant"):
        stack = Stack(np.full((2, 4, 4), value, np.float32), "zyx").normalized()
    assert not stack.plane(1).any()


def test_an_unused_constant_channel_is_nothing_to_report() -> None:
    data = np.random.default_rng(0).integers(0, 255, (8, 8, 4)).astype(np.uint8)
    data[..., 3] = 255  # alpha
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_normalization(Stack(data, "yxs"))


@pytest.mark.filterwarnings("ignore::napari_incontext_seg.errors.DegradedDataWarning")
@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, (1, 3, 4), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_planes_are_always_in_zero_one(data: np.ndarray) -> None:
    plane = Stack(data, "zyx").normalized().plane(0)
    assert np.isfinite(plane).all()
    assert plane.min() >= 0
    assert plane.max() <= 1


def test_an_image_of_nan_alone_is_black() -> None:
    with pytest.warns(DegradedDataWarning) as caught:
        stack = Stack(np.full((1, 4, 4), np.nan), "zyx").normalized()
    assert len(caught) == 2  # not finite, and constant
    assert not stack.plane(0).any()


@pytest.mark.parametrize(("low", "high"), [((0,), (1, 2)), ((2,), (1,)), ((np.nan,), (1,)), ((), ())])
def test_senseless_ranges_are_refused(low: tuple[float, ...], high: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="value range"):
        Normalization(low, high)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(InputError, match="1"):
        Normalization((0,), (1,)).apply(np.zeros((2, 2, 3)))
