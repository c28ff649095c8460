"""Write labels as they are made: plane by plane to a spool, then at once to the final file."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core.labels import as_labels
from ..core.stack import Stack
from ..errors import FileError, InContextError, InputError
from .ome_zarr import write_ome_zarr_image, write_ome_zarr_labels
from .paths import PathLike, stem
from .provenance import provenance_record
from .spool import PlaneSpool, as_confidence
from .storing import check_free, read_plain, replace_by, store, storing
from .tiff import write_tiff


class LabelWriter:
    """Writes the labels (and confidence) of a stack to a TIFF or OME-Zarr, however large, in bounded memory.

    Used as a context manager. Each plane goes to a spool beside the output when it is written, and `finish` makes the
    files. When the run is cut short, leaving the ``with`` keeps what is finished (other planes 0) and says so in the
    provenance. Nothing is ever half-written.

    Parameters
    ----------
    path
        ``NAME.tif`` (ImageJ where possible), ``NAME.ome.tif`` or ``NAME.zarr`` (OME-Zarr 0.5). A TIFF is accompanied by
        ``NAME_confidence.tif`` and ``NAME.json`` (provenance); a Zarr holds both inside.
    like
        The image: axes, spacing and units come from it.
    dtype
        Integer type of the labels given; the file's holds at least these and every id written.
    overwrite
        Replace existing files.
    provenance
        Model, digest, context fingerprint, settings, ...: plain values.

    Attributes
    ----------
    spool
        Where the finished planes are; other processes may write there too, and `note` tells of it.

    Raises
    ------
    FileError
        An output exists, or the folder cannot be written to.
    """

    def __init__(
        self,
        path: PathLike,
        like: Stack,
        *,
        dtype: Any = None,
        overwrite: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path).expanduser()
        targets = label_files(self.path)
        self._is_zarr = len(targets) == 1
        self._like, self._provenance = like, provenance_record(provenance)
        self._dtype = smallest_dtype(dtype, 0)
        self._written: set[int] = set()
        self._largest, self._has_confidence, self._closed = 0, False, False
        if not self._is_zarr:
            _, self._confidence_path, self._json_path = targets
        for target in targets:
            check_free(target, overwrite)
        with storing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            prefix = f".{stem(self.path)}-"
            self._folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=self.path.parent))
            self.spool = PlaneSpool.create(self._folder / "spool", like)

    def write(self, position: int, labels: Any, confidence: Any = None) -> None:
        """Keep one plane on disk; it may be written again.

        Parameters
        ----------
        position
            Its number in the stack.
        labels
            (Y, X), ids up to uint32.
        confidence
            (Y, X) in [0, 1], or None; kept in steps of 1/1024.

        Raises
        ------
        InputError
            The number or the shape does not fit.
        FileError, ResourceError
            The plane cannot be stored.
        """
        self._like.unravel(position)
        with storing(self.path):
            largest = self.spool.write(position, labels, confidence)
        self.note(position, largest, confidence is not None)

    def note(self, position: int, largest: int, has_confidence: bool = True) -> None:
        """Take a plane for written that another process has written to the ``spool``; ``largest`` is its largest id."""
        self._written.add(position)
        self._largest = max(self._largest, largest)
        self._has_confidence |= has_confidence

    def finish(self, *, complete: bool = True) -> list[Path]:
        """Make the final files and return their paths; ``complete`` says whether the run came to its end.

        Raises
        ------
        FileError, ResourceError
            They cannot be written. The spool is kept then, and named.
        """
        if self._closed:
            raise FileError(f"{self.path} is finished already.")
        self._closed = True
        record = {**self._provenance, "complete": complete, "finished": sorted(self._written)}
        dtype = smallest_dtype(self._dtype, self._largest)
        try:
            with storing(self.path):
                targets = self._make_zarr(dtype, record) if self._is_zarr else self._make_tiffs(dtype, record)
                for made, target in targets:
                    replace_by(made, target)
        except BaseException as error:  # Ctrl-C too
            for made in self._folder.iterdir():
                if made.name != "spool":
                    shutil.rmtree(made, ignore_errors=True) if made.is_dir() else made.unlink()
            kept = f"The finished slices ({len(self._written)}) are kept in {self._folder / 'spool' / 'labels'} (Zarr)."
            if isinstance(error, InContextError):
                raise type(error)(f"{error} {kept}") from error
            error.add_note(kept)
            raise
        if not self._is_zarr and not self._has_confidence:
            self._confidence_path.unlink(missing_ok=True)  # of an earlier run, now replaced
        shutil.rmtree(self._folder, ignore_errors=True)
        return [target for _, target in targets]

    def _make_tiffs(self, dtype: np.dtype[Any], record: dict[str, Any]) -> list[tuple[Path, Path]]:
        targets = [self.path, *([self._confidence_path] if self._has_confidence else []), self._json_path]
        made = [self._folder / target.name for target in targets]
        write_tiff(made[0], self._planes(self.spool.labels, dtype), self._like, dtype, record)
        if self._has_confidence:
            floats = np.dtype(np.float32)
            write_tiff(made[1], self._planes(self.spool.confidence, floats), self._like, floats, record)
        made[-1].write_text(json.dumps(record, indent=1), encoding="utf-8")
        return list(zip(made, targets, strict=True))

    def _make_zarr(self, dtype: np.dtype[Any], record: dict[str, Any]) -> list[tuple[Path, Path]]:
        made = self._folder / self.path.name
        write_ome_zarr_labels(made, self._planes(self.spool.labels, dtype), self._like, dtype, record)
        if self._has_confidence:
            floats = np.dtype(np.float32)
            write_ome_zarr_image(made / "confidence", self._planes(self.spool.confidence, floats), self._like, floats)
        return [(made, self.path)]

    def _planes(self, read: Callable[[int], NDArray[Any]], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        blank = np.zeros(self._like.plane_shape, dtype)
        for position in range(len(self._like)):
            yield read(position).astype(dtype) if position in self._written else blank

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closed:
            return
        if not self._written:
            self._closed = True
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        try:
            self.finish(complete=error is None and len(self._written) == len(self._like))
        except InContextError as second:
            if error is None:
                raise
            error.add_note(str(second).removeprefix(f"{error} "))  # what cut the run short is told first, and once
        else:
            if error is not None:
                error.add_note(f"The finished slices ({len(self._written)}) are in {self.path}.")


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
            (self.path / "confidence").mkdir(parents=True, exist_ok=True)
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


def label_files(path: Path) -> list[Path]:
    """The files that a `LabelWriter` makes of ``path``: labels, confidence, provenance; a Zarr holds all.

    Raises
    ------
    InputError
        The name says no format that labels are written in.
    """
    if path.suffix.lower() == ".zarr":
        return [path]
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f"labels are written as .tif, .ome.tif or .zarr; got {path.name}.")
    name = stem(path)
    return [path, path.with_name(f"{name}_confidence{path.name[len(name) :]}"), path.with_name(f"{name}.json")]


def recorded_provenance(path: Path) -> dict[str, Any] | None:
    """The provenance of labels that a `LabelWriter` wrote to ``path``; None if there are none, or it cannot be read."""
    try:
        if path.suffix.lower() == ".zarr":
            found = json.loads(read_plain(path / "zarr.json"))["attributes"]["napari-incontext-seg"]
        else:
            found = json.loads(read_plain(label_files(path)[-1])) if path.is_file() else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def smallest_dtype(given: Any, largest: int) -> np.dtype[Any]:
    """The smallest of uint8, uint16, uint32 that holds ``largest`` and is no narrower than the integers ``given``.

    64-bit integers and floats are what programs make of labels by default, and ask for nothing.
    """
    needed = np.min_scalar_type(largest)
    if given is not None and np.dtype(given).kind in "ui" and np.dtype(given).itemsize <= 4:
        needed = np.promote_types(needed, f"u{np.dtype(given).itemsize}")
    return np.dtype(needed)


def _write_png(path: Path, labels: NDArray[Any]) -> None:
    Image.fromarray(labels).save(path, format="PNG")
