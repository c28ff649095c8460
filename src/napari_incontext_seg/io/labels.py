"""Write labels as they are made: plane by plane to a spool, then at once to the final file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..core.example_set import Rgb
from ..core.stack import Stack
from ..errors import FileError, InContextError, InputError
from .ome_zarr import check_inside, goes_inside, register, write_ome_zarr_image, write_ome_zarr_labels
from .paths import PathLike, stem
from .provenance import SOFTWARE, provenance_record
from .spool import PlaneSpool
from .storing import check_free, read_plain, replace_by, storing
from .tiff import check_ome_axes, is_ome, write_tiff
from .unfinished import PLACING, SPOOL, Unfinished, check_not_going_on, check_same, left, remove_left

SPOOL_READY = "ready"  # a file that says that the spool's arrays are made


class LabelWriter:
    """Writes the labels (and confidence) of a stack to a TIFF or OME-Zarr, however large, in bounded memory.

    Used as a context manager. Each plane goes to a spool beside the output when it is written, and `finish` makes the
    files. When the run is cut short, leaving the ``with`` keeps what is finished (other planes 0) and says so in the
    provenance. Nothing is ever half-written.

    Parameters
    ----------
    path
        ``NAME.tif`` (ImageJ where possible), ``NAME.ome.tif``, ``NAME.zarr`` (OME-Zarr 0.5, in several resolutions), or
        ``IMAGE.zarr/labels/NAME`` inside an OME-Zarr image. A TIFF is accompanied by ``NAME_confidence.tif`` and
        ``NAME.json`` (provenance); a Zarr holds both inside.
    like
        The image: axes, spacing and units come from it.
    dtype
        Integer type of the labels given; the file's holds at least these and every id written.
    overwrite
        Replace existing files; beside a TIFF only what a `LabelWriter` made.
    provenance
        Model, digest, context fingerprint, settings, ...: plain values.
    class_names, class_colors
        Label -> name, and red, green, blue in [0, 1]; a Zarr says so.
    resume
        Go on with what the same run has left when it was killed or interrupted, if it has left anything.

    Attributes
    ----------
    spool
        Where the finished planes are; other processes may write there too, and `note` tells of it.
    finished
        Numbers of the planes that are written.

    Raises
    ------
    FileError
        An output exists, or the folder cannot be written to; another process is at it; to resume: it is finished.
    InputError
        The format cannot hold such axes; to resume: another run was cut short.
    """

    def __init__(
        self,
        path: PathLike,
        like: Stack,
        *,
        dtype: Any = None,
        overwrite: bool = False,
        provenance: Mapping[str, Any] | None = None,
        class_names: Mapping[int, str] | None = None,
        class_colors: Mapping[int, Rgb] | None = None,
        resume: bool = False,
    ) -> None:
        self.path = Path(path).expanduser()
        targets = label_files(self.path)
        self._is_zarr = len(targets) == 1
        self._like, self._provenance = like, provenance_record(provenance)
        self._classes = {"names": class_names, "colors": class_colors}
        self._dtype = smallest_dtype(dtype, 0)
        self.finished: set[int] = set()
        self._largest, self._has_confidence, self._closed = 0, False, False
        if not self._is_zarr:
            _, self._confidence_path, self._json_path = targets
        if is_ome(self.path):
            check_ome_axes(like.plane_axes + "yx")
        with storing(self.path):
            self._unfinished = self._begin(targets, overwrite, resume)
            self._folder = self._unfinished.folder
            self.spool = self._opened_spool()
            for position, largest in self.spool.finished():
                self.note(position, largest, self.spool.has_confidence(position))
            if resume and is_interrupted(self.path):
                self._read_interrupted()

    @property
    def folder(self) -> Path:
        """Where all is kept until it is finished."""
        return self._folder

    def _begin(self, targets: list[Path], overwrite: bool, resume: bool) -> Unfinished:
        """The folder for what is not finished: a new one, or that of the run to resume."""
        identity = run_identity(self._provenance, self._like)
        earlier = Unfinished.found(self.path, identity, any_other=overwrite) if resume else None
        interrupted = resume and is_interrupted(self.path)
        self._may_replace = overwrite or interrupted or (earlier is not None and earlier.placing)
        if earlier is not None and earlier.placing:  # some files are at their places already
            return earlier
        try:
            if interrupted and not overwrite:
                check_same(self.path, recorded_identity(self.path, self._like), identity)
            self._check_free(targets)
            if not resume and not overwrite:
                check_not_going_on(self.path)
        except InContextError:
            if earlier is not None:
                earlier.release()
            raise
        if earlier is None and overwrite:
            remove_left(self.path)
        return earlier or Unfinished.begin(self.path, identity)

    def _check_free(self, targets: list[Path]) -> None:
        """Raise FileError if files exist that may not be replaced: nobody asks about what lies beside the labels."""
        for target in targets:
            check_free(target, self._may_replace)
        beside = [target for target in targets[1:] if target.exists()]
        placed = any((folder / PLACING).exists() for folder, _ in left(self.path))  # by a run that was killed then
        if beside and not placed and not is_record(self._json_path):
            raise FileError(
                f"{beside[0]} would be replaced, and was not made with {self.path.name}: move it, or choose another "
                "name for the labels."
            )

    def _opened_spool(self) -> PlaneSpool:
        """The spool of the folder; a new one if there is none, or it was never begun."""
        folder = self._folder / SPOOL
        if (folder / SPOOL_READY).is_file():
            return PlaneSpool(folder)
        shutil.rmtree(folder, ignore_errors=True)
        spool = PlaneSpool.create(folder, self._like)
        (folder / SPOOL_READY).touch()
        return spool

    def _read_interrupted(self) -> None:
        """Take the planes that an output of the same run holds already."""
        from .stacks import open_labels, open_stack

        record = recorded_provenance(self.path) or {}
        if run_identity(record, self._like) != run_identity(self._provenance, self._like):
            return  # of another run, and to be replaced
        confidence = open_stack(self.path / "confidence" if self._is_zarr else self._confidence_path)
        labels = open_labels(self.path)
        for position in record.get("finished", []):
            if position in self.finished:
                continue
            at = dict(zip(self._like.plane_axes, self._like.unravel(position), strict=True))
            planes = []
            for stack in (labels, confidence):
                if sorted(stack.plane_axes) == sorted(at):
                    place = int(np.ravel_multi_index([at[a] for a in stack.plane_axes], stack.grid)) if at else 0
                else:  # a format without such axes numbers the planes
                    place = position
                planes.append(stack.read(place)[..., 0])
            self.write(position, planes[0], planes[1])

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
        self.finished.add(position)
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
        record = {**self._provenance, "complete": complete, "finished": sorted(self.finished)}
        dtype = smallest_dtype(self._dtype, self._largest)
        try:
            with storing(self.path):
                targets = self._make_zarr(dtype, record) if self._is_zarr else self._make_tiffs(dtype, record)
                self.path.parent.mkdir(parents=True, exist_ok=True)  # the group of an image's labels may be new
                if not self._may_replace:  # another run may have been faster
                    self._check_free([target for _, target in targets])
                (self._folder / PLACING).touch()
                for made, target in targets:
                    replace_by(made, target)
                if goes_inside(self.path):
                    register(self.path)
        except BaseException as error:  # Ctrl-C too
            self._unfinished.tidy()
            self._unfinished.release()
            kept = f"The finished slices ({len(self.finished)}) are kept in {self._folder / SPOOL / 'labels'} (Zarr)."
            if isinstance(error, InContextError):
                raise type(error)(f"{error} {kept}") from error
            error.add_note(kept)
            raise
        if not self._is_zarr and not self._has_confidence and self._may_replace:
            self._confidence_path.unlink(missing_ok=True)  # of an earlier run, now replaced
        self._unfinished.remove(but_key=not complete)
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
        planes, inside = self._planes(self.spool.labels, dtype), goes_inside(self.path)
        write_ome_zarr_labels(made, planes, self._like, dtype, record, inside=inside, **self._classes)  # type: ignore[arg-type]
        if self._has_confidence:
            floats = np.dtype(np.float32)
            write_ome_zarr_image(made / "confidence", self._planes(self.spool.confidence, floats), self._like, floats)
        return [(made, self.path)]

    def _planes(self, read: Callable[[int], NDArray[Any]], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        blank = np.zeros(self._like.plane_shape, dtype)
        for position in range(len(self._like)):
            yield read(position).astype(dtype) if position in self.finished else blank

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closed:
            return
        if not self.finished:
            self._closed = True
            self._unfinished.remove()
            return
        try:
            self.finish(complete=error is None and len(self.finished) == len(self._like))
        except InContextError as second:
            if error is None:
                raise
            error.add_note(str(second).removeprefix(f"{error} "))  # what cut the run short is told first, and once
        else:
            if error is not None:
                error.add_note(f"The finished slices ({len(self.finished)}) are in {self.path}.")


def run_identity(record: Mapping[str, Any], like: Stack) -> dict[str, Any]:
    """Which run it is: what its record says, and the shape of its image; not dates, versions, and names of files."""
    known = {k: v for k, v in record.items() if k not in ("date", "versions", "complete", "finished", "files")}
    own = record.get("versions", {}).get(SOFTWARE)
    return {**known, "axes": like.axes, "shape": [int(n) for n in like.data.shape], "version": own}


def recorded_identity(path: Path, like: Stack) -> dict[str, Any]:
    """Which run made the output ``path``, if it was about an image like this."""
    return run_identity(recorded_provenance(path) or {}, like)


def is_interrupted(path: Path) -> bool:
    """Whether the output ``path`` holds a part of its planes, as its run was cut short."""
    return (recorded_provenance(path) or {}).get("complete") is False


def is_finished(path: Path, like: Stack, provenance: Mapping[str, Any]) -> bool:
    """Whether the output ``path`` is there and complete.

    Raises
    ------
    InputError
        It is, but was made by another run than that with this ``provenance``.
    """
    if (recorded_provenance(path) or {}).get("complete") is not True or next(left(path), None) is not None:
        return False
    check_same(path, recorded_identity(path, like), run_identity(provenance_record(provenance), like))
    return True


def label_files(path: Path) -> list[Path]:
    """The files that a `LabelWriter` makes of ``path``: labels, confidence, provenance; a Zarr holds all.

    Raises
    ------
    InputError
        The name says no format that labels are written in.
    """
    if goes_inside(path):
        check_inside(path)
        return [path]
    if path.suffix.lower() == ".zarr":
        return [path]
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(
            f"labels are written as .tif, .ome.tif or .zarr, or into an OME-Zarr image (IMAGE.zarr/labels/NAME); got "
            f"{path.name}."
        )
    name = stem(path)
    return [path, path.with_name(f"{name}_confidence{path.name[len(name) :]}"), path.with_name(f"{name}.json")]


def recorded_provenance(path: Path) -> dict[str, Any] | None:
    """The provenance of labels that a `LabelWriter` wrote to ``path``; None if there are none, or it cannot be read."""
    try:
        if path.suffix.lower() == ".zarr" or goes_inside(path):
            found = json.loads(read_plain(path / "zarr.json"))["attributes"][SOFTWARE]
        else:
            found = json.loads(read_plain(label_files(path)[-1])) if path.is_file() else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_record(path: Path) -> bool:
    """Whether a file is the provenance that a `LabelWriter` wrote."""
    try:
        found = json.loads(read_plain(path))
    except (OSError, FileError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("software") == SOFTWARE


def smallest_dtype(given: Any, largest: int) -> np.dtype[Any]:
    """The smallest of uint8, uint16, uint32 that holds ``largest`` and is no narrower than the integers ``given``.

    int32, 64-bit integers and floats are what programs make of labels by default, and ask for nothing.
    """
    needed = np.min_scalar_type(largest)
    if given is not None and np.dtype(given).name in ("int8", "uint8", "int16", "uint16", "uint32"):
        needed = np.promote_types(needed, f"u{np.dtype(given).itemsize}")
    return np.dtype(needed)
