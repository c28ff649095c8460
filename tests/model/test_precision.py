"""Subnormal numbers, which only take time, are not there while something is learned."""

from __future__ import annotations

import _thread
import time

import pytest
import torch

from napari_incontext_seg.model.precision import Interrupted, without_subnormals


def subnormal(_: Interrupted = lambda: False) -> float:
    """The share of products of 1e-20 that are not 0; so many that every core has some to make."""
    few = torch.full((2_000_000,), 1e-20)
    return float((few * few != 0).double().mean())


def test_subnormal_numbers_are_nothing_meanwhile_on_all_cores() -> None:
    assert subnormal() == 1  # and OpenMP's threads are there from now on
    assert without_subnormals(subnormal) == 0
    assert subnormal() == 1


def test_what_goes_wrong_is_told() -> None:
    def fails(_: Interrupted) -> None:
        raise ValueError("as it should")

    with pytest.raises(ValueError, match="as it should"):
        without_subnormals(fails)


def test_who_interrupts_does_not_wait_for_the_end() -> None:
    def work(interrupted: Interrupted) -> None:
        _thread.interrupt_main()
        start = time.monotonic()
        while not interrupted():
            assert time.monotonic() < start + 30
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        without_subnormals(work)
