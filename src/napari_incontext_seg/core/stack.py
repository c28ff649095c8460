"""`Stack`: a lazy n-D image whose planes are read one at a time, channels chosen and values normalised here only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ResourceError
from .normalize import Normalization, fit_normalization
from .types import Plane, Spacing, frozen
from .units import micrometers
from .words import sized

MOST_PLANES = 10**8  # more is what damaged files claim
PLANE_LETTERS = "yxcs"  # y, x, channels, RGB samples; every other axis counts planes


class ArrayLike(Protocol):
    """What a stack's data must offer: numpy, dask, zarr, h5py arrays and our own file readers do."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Stack:
    """An image of any number of axes, never loaded whole.

    Parameters
    ----------
    data
        Array-like (numpy, dask, zarr, ...), one axis a letter of ``axes``.
    axes
        One lower-case letter an axis: ``y`` and ``x`` (needed); ``c`` channels or ``s`` RGB(A) samples;
        every other letter (``z``, ``t``, ``i`` images, ...) counts planes.
    scale
        Physical size of a step along each axis, in ``units``; default 1.
    units
        Unit of each axis (``"micrometer"``, ``"second"``, ``""`` unknown).
    translate
        Position of the first sample along each axis, in ``units``; default 0.
    channels
        Channels to use, up to three, in order; default: all if at most three, else the first three.
    mix
        (channels, 1 or 3) weights that mix channels instead; at most one of ``channels`` and ``mix``.
    normalization
        Raw value range shown to the model; fitted by `normalized` when None.
    named
        Whether a file or a person said what the axes are; else they are guessed by their number.
    """

    data: ArrayLike
    axes: str
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    translate: tuple[float, ...] = ()
    channels: tuple[int, ...] | None = None
    mix: NDArray[np.float32] | None = None
    normalization: Normalization | None = None
    name: str = ""
    named: bool = True

    def __post_init__(self) -> None:
        shape, axes = tuple(self.data.shape), self.axes
        if len(axes) != len(shape) or len(set(axes)) != len(axes):
            raise InputError(f"axes must name each of the {len(shape)} axes {shape} once; got {axes!r}.")
        if "y" not in axes or "x" not in axes or ("c" in axes and "s" in axes):
            raise InputError(f"axes need y and x, and at most one of c (channels) and s (RGB); got {axes!r}.")
        if 0 in shape:
            raise InputError(f"the image is empty: shape {shape}.")
        if prod(self.grid) > MOST_PLANES:
            raise InputError(f"the image claims {prod(self.grid)} slices (shape {shape}): the file may be damaged.")
        if np.dtype(self.data.dtype).kind not in "buif":
            raise InputError(f"the image must hold numbers; got dtype {self.data.dtype}.")
        for name, default in (("scale", 1.0), ("units", ""), ("translate", 0.0)):
            value = tuple(getattr(self, name)) or (default,) * len(axes)
            if len(value) != len(axes):
                raise InputError(f"{name} needs one value an axis ({axes!r}); got {len(value)}.")
            object.__setattr__(self, name, value)
        self._check_channels()

    def _check_channels(self) -> None:
        if self.channels is not None and self.mix is not None:
            raise InputError("choose channels or mix them, not both.")
        if self.channels is not None:
            channels = tuple(int(c) for c in self.channels)
            if not 1 <= len(channels) <= 3 or not all(0 <= c < self.num_channels for c in channels):
                raise InputError(
                    f"channels must be one to three of 0..{self.num_channels - 1}; got {list(self.channels)}."
                )
            object.__setattr__(self, "channels", channels)
        if self.mix is not None:
            mix = np.asarray(self.mix, np.float32)
            if (
                mix.ndim != 2
                or mix.shape[0] != self.num_channels
                or mix.shape[1] not in (1, 3)
                or not np.isfinite(mix).all()
            ):
                raise InputError(f"mix must be ({self.num_channels}, 1 or 3) finite weights; got shape {mix.shape}.")
            object.__setattr__(self, "mix", frozen(mix))

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Stack{name} {self.axes} {sized(self.data.shape)} {np.dtype(self.data.dtype).name}>"

    # -- geometry ---------------------------------------------------------------------------------------------
    @cached_property
    def plane_axes(self) -> str:
        """The letters that count planes, in order (``"tz"``); empty for a single image."""
        return "".join(a for a in self.axes if a not in PLANE_LETTERS)

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """How many planes there are along each of `plane_axes`."""
        return tuple(self.size(a) for a in self.plane_axes)

    def __len__(self) -> int:
        """Number of planes; planes are numbered row-major over `grid`."""
        return prod(self.grid)

    @cached_property
    def plane_shape(self) -> tuple[int, int]:
        """(Y, X) of every plane."""
        return self.size("y"), self.size("x")

    @cached_property
    def num_channels(self) -> int:
        """Channels in the raw data (an axis ``c`` or ``s``), 1 when there is none."""
        return next((self.size(a) for a in "cs" if a in self.axes), 1)

    @cached_property
    def spacing(self) -> Spacing | None:
        """Physical pixel size (y, x) in micrometers, None when the file did not say (no unit of length)."""
        at = [self.axes.index(a) for a in "yx"]
        y, x = (micrometers(abs(self.scale[k]), self.units[k]) for k in at)
        return None if y is None or x is None or not all(0 < s < np.inf for s in (y, x)) else (y, x)

    def size(self, axis: str) -> int:
        """Length of an axis by its letter."""
        return int(self.data.shape[self.axes.index(axis)])

    def unravel(self, position: int) -> tuple[int, ...]:
        """Plane number -> index along each of `plane_axes`. Raises InputError when out of range."""
        if not 0 <= position < len(self):
            raise InputError(
                f"slice {position} does not exist: {self.name or 'the stack'} has slices 0..{len(self) - 1}."
            )
        return tuple(int(i) for i in np.unravel_index(position, self.grid)) if self.grid else ()

    # -- pixels -----------------------------------------------------------------------------------------------
    def read(self, position: int) -> NDArray[Any]:
        """Read one raw plane, as (Y, X, channels) in the file's dtype."""
        at = iter(self.unravel(position))
        index = tuple(slice(None) if a in PLANE_LETTERS else next(at) for a in self.axes)
        self._check_memory()
        raw = np.asarray(self.data[index])
        letters = [a for a in self.axes if a in PLANE_LETTERS]
        raw = raw if len(letters) == 3 else raw[..., None]
        letters = letters if len(letters) == 3 else [*letters, "c"]
        channel = "s" if "s" in letters else "c"
        return np.ascontiguousarray(raw.transpose([letters.index(a) for a in ("y", "x", channel)]))

    def _check_memory(self) -> None:
        """Raise ResourceError if a plane is larger than the memory of this machine."""
        if not hasattr(os, "sysconf"):  # Windows refuses by itself
            return
        needed = prod(self.plane_shape) * self.num_channels * np.dtype(self.data.dtype).itemsize
        if needed > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
            raise ResourceError(
                f"one slice of {self.name or 'the image'} takes {needed / 1e9:.0f} GB, more memory than this machine "
                "has. Crop the image, or save it with smaller slices; if it is not so large, the file is damaged."
            )

    def plane(self, position: int) -> Plane:
        """Read one plane (Y, X, C), float32 in [0, 1], C in {1, 3}: channels chosen or mixed, values normalised."""
        if self.normalization is None:
            raise InputError("the stack has no value range yet: use stack.normalized() first.")
        values = self.normalization.apply(self.read(position))
        return frozen(np.ascontiguousarray(self._project(values)))

    def _project(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.mix is not None:
            mixed: NDArray[np.float32] = np.clip(values @ self.mix, 0, 1)
            return mixed
        chosen = values[..., list(self.used_channels)]
        if chosen.shape[2] == 2:  # two channels are shown as red and green
            chosen = np.concatenate([chosen, np.zeros_like(chosen[..., :1])], axis=2)
        return chosen

    @cached_property
    def used_channels(self) -> tuple[int, ...]:
        """The raw channels that a plane shows."""
        if self.mix is not None:
            return tuple(range(self.num_channels))
        if self.channels is None and "s" in self.axes and self.num_channels < 3:
            return (0,)  # grey and alpha
        return self.channels or tuple(range(min(3, self.num_channels)))

    def normalized(self, normalization: Normalization | None = None) -> Stack:
        """Return this stack with a value range: the one given, its own, or one fitted on planes spread over it."""
        if normalization is None and self.normalization is not None:
            return self
        return replace(self, normalization=normalization or fit_normalization(self))

    def ordered_like(self, other: Stack) -> Stack:
        """Return this stack with its plane axes in the order of ``other``, where both have the same, equally long.

        Axes that are guessed say nothing: then it stays as it is.
        """
        if not self.named or self.plane_axes == other.plane_axes or sorted(self.plane_axes) != sorted(other.plane_axes):
            return self
        if tuple(self.size(a) for a in other.plane_axes) != other.grid:
            return self
        wanted = iter(other.plane_axes)
        axes = "".join(a if a in PLANE_LETTERS else next(wanted) for a in self.axes)
        order = [self.axes.index(a) for a in axes]
        return replace(
            self, data=_Reordered(self.data, order), axes=axes, scale=tuple(self.scale[k] for k in order),
            units=tuple(self.units[k] for k in order), translate=tuple(self.translate[k] for k in order),
        )  # fmt: skip

    def sample_positions(self, count: int = 9) -> Sequence[int]:
        """Up to ``count`` plane numbers spread evenly over the stack."""
        return sorted({int(p) for p in np.linspace(0, len(self) - 1, min(count, len(self))).round()})


class _Reordered:
    """An array with its axes in another ``order``, as for `numpy.transpose`, read when it is asked for."""

    def __init__(self, data: ArrayLike, order: Sequence[int]) -> None:
        self.data, self.order = data, list(order)
        self.shape = tuple(int(data.shape[k]) for k in order)
        self.dtype = data.dtype

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Index with a tuple of integers and slices, one an axis."""
        there = dict(zip(self.order, index, strict=True))
        found = np.asarray(self.data[tuple(there[k] for k in range(len(there)))])
        kept = [k for k in self.order if isinstance(there[k], slice)]
        return found.transpose([sorted(kept).index(k) for k in kept])
