"""Write the labels of images that are no stack: a file each, when it is done."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.labels import as_labels
from ..core.stack import Stack
from ..errors import InContextError, InputError
from .labels import smallest_dtype
from .paths import PathLike
from .provenance import provenance_record
from .spool import as_confidence
from .storing import check_free, store, storing
from .tiff import write_tiff


class LabelFolder:
    """Writes the labels of a collection, one file an image, each when it is done.

    Labels go to ``NAME.tif`` (``NAME.png`` for images that are PNG files, where the ids fit), confidence to
    ``confidence/NAME.tif``, and provenance to ``provenance.json``.

    Parameters
    ----------
    path
        The folder; made when missing.
    images
        The collection, one plane a stack, each with a name of its own.
    dtype, overwrite, provenance
        As for `LabelWriter`.

    Raises
    ------
    FileError
        An output exists, or the folder cannot be written to.
    InputError
        Two images have the same name.
    """

    def __init__(
        self,
        path: PathLike,
        images: list[Stack],
        *,
        dtype: Any = None,
        overwrite: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path).expanduser()
        self._images, self._dtype = images, smallest_dtype(dtype, 0)
        self._provenance = provenance_record(provenance)
        self._written: list[int] = []
        self._files: list[Path] = []
        names = [image.name for image in images]
        for name in names:
            if "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
                raise InputError(f"the name of an image becomes that of a file, and {name!r} cannot: rename the image.")
        if len(set(names)) < len(names) or not all(names):
            twice = sorted({n for n in names if names.count(n) > 1 or not n})
            raise InputError(f"each image needs a name of its own for its labels; not so: {twice}.")
        for target in [self.path / "provenance.json", *(self._target(n, s) for n in names for s in (".tif", ".png"))]:
            check_free(target, overwrite)
        with storing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.path).close()  # fails now rather than after the first image

    def _target(self, name: str, suffix: str) -> Path:
        return self.path / f"{name}{suffix}"

    def write(self, number: int, labels: Any, confidence: Any = None) -> Path:
        """Write the labels (Y, X) of one image of the collection, and its confidence (Y, X); return the label file."""
        image = self._images[number]
        plane = as_labels(labels, image.plane_shape)
        dtype = smallest_dtype(self._dtype, int(plane.max(initial=0)))
        source = getattr(image.data, "path", Path())
        png = source.suffix.lower() == ".png" and dtype.itemsize <= 2
        target = self._target(image.name, ".png" if png else ".tif")
        record = {**self._provenance, "image": image.name}
        if png:
            store(target, lambda file: _write_png(file, plane.astype(dtype)))
        else:
            store(target, lambda file: write_tiff(file, iter([plane.astype(dtype)]), image, dtype, record))
        if confidence is not None:
            values, floats = as_confidence(confidence, plane.shape), np.dtype(np.float32)
            beside = self.path / "confidence" / f"{image.name}.tif"
            store(beside, lambda file: write_tiff(file, iter([values]), image, floats, record))
        self._written.append(number)
        self._files.append(target)
        return target

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complete = error is None and len(set(self._written)) == len(self._images)
        finished = [self._images[k].name for k in self._written]
        record = {**self._provenance, "complete": complete, "finished": finished}
        try:
            store(self.path / "provenance.json", lambda f: f.write_text(json.dumps(record, indent=1), encoding="utf-8"))
        except InContextError as second:
            if error is None:
                raise
            error.add_note(str(second))
        if error is not None and finished:
            error.add_note(f"The finished images ({len(finished)}) are in {self.path}.")


def _write_png(path: Path, labels: NDArray[Any]) -> None:
    Image.fromarray(labels).save(path, format="PNG")
