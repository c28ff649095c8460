"""Writing without ever leaving half a file: write beside the target, then rename."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import FileError, InContextError, ResourceError
from .paths import ZARR_MARKERS

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn what the system says while ``path`` is written into our errors.

    Raises
    ------
    ResourceError
        The disk is full.
    FileError
        Anything else that kept ``path`` from being written.
    """
    try:
        yield
    except InContextError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise ResourceError(
                f"the disk is full: {path} was not written. Free some space, or write elsewhere."
            ) from error
        raise FileError(f"{path} cannot be written: {error.strerror or error}.") from error


def read_plain(path: Path) -> str:
    """The text of a file that somebody else may have made; a device or pipe, which may never end, is not read.

    Raises
    ------
    OSError
        It is none, or cannot be read.
    """
    if not path.is_file():
        raise FileError(f"{path} is missing, or no file.")
    return path.read_text(encoding="utf-8", errors="replace")


def check_free(path: Path, overwrite: bool) -> None:
    """Raise FileError if ``path`` exists and may not be replaced."""
    with storing(path):  # a name may be too long even to look for
        if path.is_dir() and not any((path / marker).exists() for marker in ZARR_MARKERS):
            raise FileError(f"{path} is a folder, not an earlier output; choose another name.")
        if path.exists() and not overwrite:
            raise FileError(f"{path} exists; use --overwrite (overwrite=True) to replace it.")


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise FileError if an output is one of the inputs, or holds one: what somebody made would be lost."""
    sources = [path.expanduser().resolve() for path in inputs]
    taken = {path for source in sources for path in (source, *source.parents)}
    for output in outputs:
        if output.expanduser().resolve() in taken:
            raise FileError(f"{output} is an input, which is never written over: choose another output.")


def replace_by(made: Path, target: Path) -> None:
    """Rename ``made`` (file or folder) to ``target``, which is replaced at once."""
    if not target.is_dir():
        made.replace(target)
        return
    old = made.with_name(f"{made.name}.old")  # a folder cannot be renamed over another
    target.replace(old)
    try:
        made.replace(target)
    except BaseException:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def store(target: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a small file or folder beside ``target``, then rename it."""
    beside = target.with_name(f".partial-{target.name}")
    with storing(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write(beside)
            replace_by(beside, target)
        finally:
            if beside.is_dir():
                shutil.rmtree(beside, ignore_errors=True)
            beside.unlink(missing_ok=True)
