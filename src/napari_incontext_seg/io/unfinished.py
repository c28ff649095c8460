"""What a run keeps beside its output until it is finished, so that another one goes on where it was killed."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ..core.stack import Stack
from ..errors import FileError, InputError
from .ome_zarr import goes_inside
from .paths import stem
from .storing import read_plain

IDENTITY, LOCK, PLACING, SPOOL, KEY = "identity.json", "lock", "placing", "spool", "tuned.key"
_LOOKED_AT = 2**28  # bytes of an image that its fingerprint is made of: seconds, where painting takes minutes
_NAMES = {
    "model_digest": "the model", "context": "the examples", "image": "the image", "slices": "the slices to paint",
    "given": "the slices that are given", "annotated_slices": "the annotated slices",
    "version": "the version of this program", "value_range": "the value range",
}  # fmt: skip
_SEVERAL = ("context", "slices", "given", "annotated_slices")


class Unfinished:
    """The folder of an unfinished output. As long as its process lives, no other one takes it.

    Made by `begin` or `found`.
    """

    def __init__(self, folder: Path, lock: FileLock | None) -> None:
        self.folder, self._lock = folder, lock

    @classmethod
    def begin(cls, target: Path, identity: Mapping[str, Any]) -> Unfinished:
        """Make an empty folder for the output ``target``; ``identity``, values for JSON, says which run makes it.

        Raises
        ------
        OSError
            It cannot be written.
        """
        place = _place(target)
        place.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_prefix(target), suffix=".partial", dir=place))
        lock = _locked(folder, target)
        text = json.dumps({"target": target.name, "identity": identity})
        (folder / IDENTITY).write_text(text, encoding="utf-8")
        return cls(folder, lock)

    @classmethod
    def found(cls, target: Path, identity: Mapping[str, Any], *, any_other: bool = False) -> Unfinished | None:
        """Take over what a killed run has left of ``target``; None if there is nothing.

        Raises
        ------
        InputError
            It was another run, unless ``any_other`` does not matter.
        FileError
            It is not killed: another process is at it.
        """
        wanted = json.loads(json.dumps(identity))
        others = []
        for folder, other in left(target):
            if other == wanted:
                taken = cls(folder, _locked(folder, target))
                taken.tidy()
                return taken
            others.append(other)
        if others and not any_other:
            raise InputError(
                f"the run to {target.name} that was cut short is another one: {differences(others[0], wanted)}. Repeat "
                "it as it was, or begin anew with --overwrite (overwrite=True)."
            )
        return None

    @property
    def placing(self) -> bool:
        """Whether files were being put into their places: some may be there."""
        return (self.folder / PLACING).exists()

    def tidy(self) -> None:
        """Remove files that are half made, or were not put into their places."""
        for made in self.folder.iterdir():
            if made.name not in (IDENTITY, LOCK, PLACING, SPOOL, KEY):
                shutil.rmtree(made, ignore_errors=True) if made.is_dir() else made.unlink()

    def release(self) -> None:
        """Let others take the folder, or remove it."""
        if self._lock is not None:
            self._lock.release()

    def remove(self, *, but_key: bool = False) -> None:
        """Remove the folder with all that it holds; of a run that was interrupted not what a tuning had learned."""
        self.release()
        if but_key and (self.folder / KEY).exists():
            shutil.rmtree(self.folder / SPOOL, ignore_errors=True)
            self.tidy()
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def left(target: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folders of unfinished runs of ``target``, and which runs they are."""
    place = _place(target)
    if not place.is_dir():
        return
    for folder in sorted(place.iterdir()):
        if not (folder.name.startswith(_prefix(target)) and folder.suffix == ".partial" and folder.is_dir()):
            continue
        try:
            known = json.loads(read_plain(folder / IDENTITY))
            if known["target"] == target.name and isinstance(known["identity"], dict):
                yield folder, known["identity"]
        except (OSError, FileError, ValueError, LookupError, TypeError, RecursionError):
            continue  # killed before it had written that, or not ours


def remove_left(target: Path) -> None:
    """Remove what killed runs have left of ``target``. Raises FileError if one is not killed."""
    for folder, _ in left(target):
        Unfinished(folder, _locked(folder, target)).remove()


def check_none_left(target: Path) -> None:
    """Raise FileError if a run to ``target`` was cut short, and has finished slices, or if it is still going on."""
    for folder, _ in left(target):
        Unfinished(folder, _locked(folder, target)).release()
        count = len({chunk.name.split(".")[1] for chunk in (folder / SPOOL / "labels").glob("c.*")})
        if count:
            raise FileError(
                f"an earlier run to {target.name} was cut short, and has finished {count} slices: go on with --resume "
                "(resume=True), or begin anew with --overwrite (overwrite=True)."
            )


def check_not_going_on(target: Path) -> None:
    """Raise FileError if ``target`` is being made."""
    for folder, _ in left(target):
        Unfinished(folder, _locked(folder, target)).release()


def kept_key(target: Path) -> Path | None:
    """The file of what an unfinished run of ``target`` had learned by tuning, None if there is none."""
    return next((folder / KEY for folder, _ in left(target) if (folder / KEY).is_file()), None)


def check_same(target: Path, record: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise InputError if the ``record`` in an earlier output ``target`` is not that of the run ``identity``."""
    wanted = json.loads(json.dumps(identity))
    before = {name: record.get(name) for name in wanted}
    if before != wanted:
        raise InputError(
            f"{target.name} was made by another run: {differences(before, wanted)}. Repeat it as it was, begin anew "
            "with --overwrite (overwrite=True), or choose another output."
        )


def fingerprint(stack: Stack) -> str:
    """SHA-256 of an image: of all its planes, or of as many, spread over it, as can be read in seconds."""
    digest = hashlib.sha256(f"{tuple(stack.data.shape)} {stack.axes} {np.dtype(stack.data.dtype).name}".encode())
    plane = int(np.prod(stack.plane_shape)) * stack.num_channels * np.dtype(stack.data.dtype).itemsize
    for position in stack.sample_positions(max(1, _LOOKED_AT // plane)):
        digest.update(np.ascontiguousarray(stack.read(position)).tobytes())
    return digest.hexdigest()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is different between two runs, in words."""
    flat = [{**d, **d["settings"]} if isinstance(d.get("settings"), dict) else dict(d) for d in (before, now)]
    told = []
    for name in sorted({*flat[0], *flat[1]} - {"settings"}):
        was, is_now = flat[0].get(name), flat[1].get(name)
        if was == is_now:
            continue
        if name in _NAMES:
            told.append(f"{_NAMES[name]} {'are' if name in _SEVERAL else 'is'} not the same")
        else:
            told.append(f"{name} was {_short(was)}, and is {_short(is_now)}")
    return "; ".join(told)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else f"{text[:20]}..."


def _locked(folder: Path, target: Path) -> FileLock | None:
    """Lock a folder; None on disks that know no locks. Raises FileError if another process has it."""
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise FileError(
            f"{target} is being made already, by this process or another one: wait for it, or end it."
        ) from error
    except (OSError, NotImplementedError):
        return None
    return lock


def _prefix(target: Path) -> str:
    return f".{stem(target)}-"


def _place(target: Path) -> Path:
    """The folder in which unfinished outputs lie: that of the output, or of the Zarr image that it goes into."""
    return target.parents[2] if goes_inside(target) else target.parent
