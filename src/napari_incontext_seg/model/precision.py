"""Numbers wide enough to be solved with."""

from __future__ import annotations

from torch import Tensor


def wide(sums: Tensor) -> Tensor:
    """In float64, which mps does not have: there on the CPU."""
    return (sums.cpu() if sums.device.type == "mps" else sums).double()
