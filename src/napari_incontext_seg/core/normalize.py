"""Value ranges: fitted once a stack on raw data, and applied to every plane of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DegradedDataWarning, InputError

if TYPE_CHECKING:
    from .stack import Stack

SAMPLES = 2**18  # pixels a plane that percentiles are taken from: bounds memory for any image size
LIMIT = 1e307  # values beyond are clipped, so that high - low cannot overflow float64


@dataclass(frozen=True)
class Normalization:
    """The raw values that become 0 and 1.

    Parameters
    ----------
    low, high
        One raw value a raw channel; ``low <= high``, equal for a constant channel.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", tuple(float(v) for v in self.low))
        object.__setattr__(self, "high", tuple(float(v) for v in self.high))
        pairs = list(zip(self.low, self.high, strict=False))
        if len(self.low) != len(self.high) or not pairs or not all(-np.inf < lo <= hi < np.inf for lo, hi in pairs):
            raise InputError(
                f"a value range needs one finite low <= high a channel; got low {self.low} and high {self.high}."
            )

    def apply(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Map raw values to [0, 1].

        Parameters
        ----------
        raw
            (Y, X, channels), any real dtype.

        Returns
        -------
        (Y, X, channels) float32 in [0, 1]: clipped; NaN is 0, +Inf 1, -Inf 0; a constant channel is 0.

        Raises
        ------
        InputError
            Another number of channels.
        """
        if raw.ndim != 3 or raw.shape[2] != len(self.low):
            raise InputError(f"the value range is for (Y, X, {len(self.low)}) images; got shape {raw.shape}.")
        work = np.float32 if raw.dtype.itemsize <= 2 else np.float64  # float32 holds 16 bits exactly
        planes = np.empty(raw.shape, np.float32)
        for channel, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            values: NDArray[np.floating[Any]] = raw[..., channel].astype(work)
            np.clip(values, low, high, out=values)
            values -= low
            values /= (high - low) or 1.0
            values[np.isnan(values)] = 0
            planes[..., channel] = values
        return planes


def fit_normalization(stack: Stack, percentiles: tuple[float, float] = (0.5, 99.5)) -> Normalization:
    """Fit a value range to planes spread over a stack.

    RGB samples (axis ``s``) share one range, so that hues are kept; channels (axis ``c``) have one each. Where the
    percentiles coincide (nearly empty images) the extremes are taken instead.

    Parameters
    ----------
    stack
        Up to nine of its planes are read.
    percentiles
        Of the finite raw values, in percent, that become 0 and 1.

    Warns
    -----
    DegradedDataWarning
        NaN or Inf were found, or what is shown of the image is constant.
    """
    count = stack.num_channels
    if np.dtype(stack.data.dtype).kind == "b":
        return Normalization((0.0,) * count, (1.0,) * count)
    shared = min(3, count) if "s" in stack.axes and count >= 3 else 1
    groups = [list(range(shared)), *([c] for c in range(shared, count))]
    samples: list[list[NDArray[np.float64]]] = [[] for _ in groups]
    extremes: list[list[float]] = [[] for _ in groups]
    repaired = False
    for position in stack.sample_positions():
        raw = stack.read(position)
        step = ceil(sqrt(raw.shape[0] * raw.shape[1] / SAMPLES))
        for group, taken, ends in zip(groups, samples, extremes, strict=True):
            values = raw[..., group]
            finite = np.isfinite(values)
            repaired |= not finite.all()
            if finite.any():
                known = values[finite]
                ends += [float(known.min()), float(known.max())]
                taken.append(values[::step, ::step][finite[::step, ::step]].astype(np.float64))
    ranges = [_range(taken, ends, percentiles) for taken, ends in zip(samples, extremes, strict=True)]
    fitted = [r for group, r in zip(groups, ranges, strict=True) for _ in group]
    _report(stack, repaired, all(fitted[c][0] == fitted[c][1] for c in stack.used_channels))
    return Normalization(tuple(low for low, _ in fitted), tuple(high for _, high in fitted))


def _range(samples: list[NDArray[np.float64]], extremes: list[float], percentiles: tuple[float, float]) -> list[float]:
    """(low, high) of one group of channels; zeros when no value is finite."""
    if not extremes:
        return [0.0, 0.0]
    # "nearest" takes values that occur: interpolation would overflow between extreme ones
    values = np.concatenate(samples)
    found = np.percentile(values, percentiles, method="nearest") if values.size else np.zeros(2)
    low, high = found if found[0] < found[1] else (min(extremes), max(extremes))
    return [float(np.clip(v, -LIMIT, LIMIT)) for v in (low, high)]


def _report(stack: Stack, repaired: bool, constant: bool) -> None:
    name = stack.name or "the image"
    if repaired:
        message = f"{name} has NaN or infinite values: NaN and -Inf are shown as black, +Inf as white."
        warnings.warn(message, DegradedDataWarning, stacklevel=4)
    if constant:
        message = f"{name} is constant in the planes looked at: it is shown as black. Are these the right channels?"
        warnings.warn(message, DegradedDataWarning, stacklevel=4)
