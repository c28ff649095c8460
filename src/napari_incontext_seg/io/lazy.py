"""Arrays that read a plane when it is asked for, and keep none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PagedArray(ABC):
    """An array made of pages that are read one at a time.

    Parameters
    ----------
    shape
        Of the whole array; its last axes are those of a page.
    dtype
        Of the pages.
    page_ndim
        Number of axes of a page.
    path
        The file or folder, for messages.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, page_ndim: int, path: Path) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self.path = path
        self._counted = self.shape[: len(self.shape) - page_ndim]

    @abstractmethod
    def read_page(self, number: int) -> NDArray[Any]:
        """Read one page; pages are numbered row-major over the axes before those of a page."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def num_pages(self) -> int:
        """How many pages there are."""
        return prod(self._counted)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Index with a tuple of integers and slices, at most one an axis."""
        index = index if isinstance(index, tuple) else (index,)
        index += (slice(None),) * (len(self.shape) - len(index))
        counted, inside = index[: len(self._counted)], index[len(self._counted) :]
        chosen = [
            range(size)[i] if isinstance(i, slice) else [range(size)[int(i)]]
            for i, size in zip(counted, self._counted, strict=True)
        ]
        pages = [self.read_page(int(np.ravel_multi_index(at, self._counted)) if at else 0) for at in product(*chosen)]
        kept = [len(c) for c, i in zip(chosen, counted, strict=True) if isinstance(i, slice)]
        page_shape = self.shape[len(self._counted) :]
        stacked = np.stack(pages) if pages else np.empty((0, *page_shape), self.dtype)
        return np.asarray(stacked.reshape(*kept, *page_shape)[(slice(None),) * len(kept) + inside])
