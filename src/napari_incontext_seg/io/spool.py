"""`PlaneSpool`: finished planes on disk, until all of them make the final file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..core.labels import as_labels
from ..core.stack import Stack
from ..core.types import Labels
from ..errors import FileError, InputError

_CHUNK = 4096  # pixels; larger planes are cut, as a compressor takes 2 GB at most
_CONFIDENCE_STEPS = np.float32(1024)  # three digits are more than a confidence is worth; noise would not compress


class PlaneSpool:
    """Labels and confidence of the planes of a stack in a folder of Zarr arrays.

    No two planes share a chunk, so processes and machines may write to one spool at the same time, and a plane that is
    written twice is just written.

    Parameters
    ----------
    folder
        Of a spool that `create` made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._labels, self._confidence = (_array(folder / name) for name in ("labels", "confidence"))
        except Exception as error:  # zarr raises many kinds
            raise FileError(
                f"{folder} cannot be opened: {error}. Is it on a disk that all machines see, under the same path?"
            ) from error

    @classmethod
    def create(cls, folder: Path, like: Stack) -> PlaneSpool:
        """Make an empty spool for the planes of a stack."""
        shape = (len(like), *like.plane_shape)
        chunks = (1, *(min(_CHUNK, n) for n in like.plane_shape))
        for name, dtype in (("labels", np.uint32), ("confidence", np.float32)):
            zarr.create_array(
                folder, name=name, shape=shape, chunks=chunks, dtype=dtype, dimension_names=("i", "y", "x"),
                chunk_key_encoding={"name": "default", "separator": "."},  # files side by side, not three folders each
            )  # fmt: skip
        return cls(folder)

    def write(self, position: int, labels: Any, confidence: Any = None) -> int:
        """Keep one plane.

        Parameters
        ----------
        position
            Its number.
        labels
            (Y, X), ids up to uint32.
        confidence
            (Y, X) in [0, 1], or None; kept in steps of 1/1024.

        Returns
        -------
        int
            The largest id.

        Raises
        ------
        InputError
            The shape does not fit.
        FileError
            The spool is gone: the run that it belonged to is over.
        OSError
            The plane cannot be stored.
        """
        _, height, width = self._labels.shape
        plane = as_labels(labels, (height, width))
        values = None if confidence is None else as_confidence(confidence, plane.shape)
        if not (self.folder / "labels").is_dir():
            raise FileError(f"{self.folder} is no longer there.")
        if values is not None:
            self._confidence[position] = stored_confidence(values)
        self._labels[position] = plane  # last: a plane that has labels is finished
        return int(plane.max(initial=0))

    def holds(self, position: int) -> bool:
        """Whether a plane was written, by whomever."""
        rows, columns = (-(-n // _CHUNK) for n in self._labels.shape[1:])
        chunks = (f"c.{position}.{i}.{k}" for i in range(rows) for k in range(columns))
        return all((self.folder / "labels" / chunk).is_file() for chunk in chunks)

    def has_confidence(self, position: int) -> bool:
        """Whether a plane was written with confidence."""
        return (self.folder / "confidence" / f"c.{position}.0.0").is_file()

    def finished(self) -> Iterator[tuple[int, int]]:
        """Numbers of the planes that were written, and the largest id in each; what cannot be read is not finished."""
        for position in range(self._labels.shape[0]):
            if self.holds(position):
                try:
                    largest = int(self.labels(position).max(initial=0))
                    self.confidence(position)
                except Exception:  # codecs raise what they like; a machine that crashed may leave files without content
                    continue
                yield position, largest

    def labels(self, position: int) -> Labels:
        """Labels (Y, X) of a plane that was written."""
        return np.asarray(self._labels[position])

    def confidence(self, position: int) -> NDArray[np.float32]:
        """Confidence (Y, X) of a plane; 0 where none was written."""
        return np.asarray(self._confidence[position])


def as_confidence(values: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Values (Y, X) as float32. Raises InputError if they are no numbers, or do not match the labels."""
    try:
        confidence = np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"confidence must be an array of numbers; got {type(values).__name__} ({error}).") from error
    if confidence.shape != shape:
        raise InputError(f"confidence must match the labels {shape}; got {confidence.shape}.")
    return confidence


def stored_confidence(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Confidence as a spool keeps it, in steps."""
    return np.asarray(np.rint(values * _CONFIDENCE_STEPS) / _CONFIDENCE_STEPS, np.float32)


def _array(folder: Path) -> zarr.Array[Any]:
    # empty ones too: a blank plane that is finished is told from one that is not
    return zarr.open_array(folder, mode="r+", config={"write_empty_chunks": True})
