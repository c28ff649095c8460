"""One large file over HTTP, resumable: an interrupted download leaves a partial file and continues from there."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NoReturn, TypeAlias
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ..errors import DownloadError, FileError, InContextError, ResourceError

Progress: TypeAlias = Callable[[int, int | None], None]

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte


def download(url: str, partial: Path, progress: Progress | None = None) -> None:
    """Fetch ``url`` into ``partial``, continuing what an earlier call left there if the server's file is unchanged.

    Parameters
    ----------
    partial
        Where the bytes go. Beside it a small JSON file remembers which version of the file they belong to.
    progress
        Called with bytes done and bytes in all (None when the server does not say).

    Raises
    ------
    DownloadError
        No network, no such file, a web page instead, or an interruption (what came is kept).
    ResourceError
        The disk is full.
    FileError
        The folder cannot be written.
    """
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"weights are fetched from an address that begins with https://; got {url}.")
    note = partial.with_name(partial.name + ".json")
    offset, version = _resume_point(url, partial, note)
    with _open(url, offset, version) as response:
        if response.status != 206:
            offset = 0
        if "html" in (response.headers.get("Content-Type") or ""):
            raise DownloadError(
                f"{url} sent a web page instead of weights. Does this network ask for a login? Open it in a browser."
            )
        total = _total(response, offset)
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            _check_space(partial.parent, None if total is None else total - offset)
            if not offset:
                # the old bytes go before the note changes, so that a note never speaks of another file's bytes
                partial.write_bytes(b"")
                note.write_text(json.dumps({"url": url, "version": _version(response)}))
        except OSError as error:
            raise_write_error(error, partial)
        _write(response, partial, offset, total, progress)
    note.unlink(missing_ok=True)


def raise_write_error(error: OSError, path: Path) -> NoReturn:
    """Raise what a failed write to ``path`` means for the user."""
    if isinstance(error, InContextError):
        raise error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise ResourceError(
            f"the disk is full: cannot write {path}. Free some space, or set INCONTEXT_SEG_CACHE to a larger disk."
        ) from error
    raise FileError(f"cannot write {path}: {error.strerror or error}. Is the folder writable?") from error


def _resume_point(url: str, partial: Path, note: Path) -> tuple[int, str | None]:
    """Bytes that need not come again and the version they belong to; 0 and None when there is nothing to build on."""
    try:
        remembered = json.loads(note.read_text())
        size = partial.stat().st_size
    except (OSError, ValueError):
        return 0, None
    if not isinstance(remembered, dict) or remembered.get("url") != url or not remembered.get("version"):
        return 0, None
    # The last byte comes again: a request for nothing, when all bytes are here, would be refused.
    return max(0, size - 1), str(remembered["version"])


def _version(response: HTTPResponse) -> str | None:
    """What tells two versions of a file apart; weak tags do not promise equal bytes."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _open(url: str, offset: int, version: str | None) -> HTTPResponse:
    """Ask for the bytes from ``offset`` on, or for all when the file has changed or the range cannot be had."""
    headers = {"User-Agent": "napari-incontext-seg"}
    if offset and version:
        headers |= {"Range": f"bytes={offset}-", "If-Range": version}
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and offset:
            return _open(url, 0, None)
        raise DownloadError(_refusal(url, error.code)) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise DownloadError(
            f"cannot reach {url}: {reason}. Check the network; on a machine without one, fetch the file elsewhere "
            "and use `incontext-seg weights fetch NAME --from FILE`."
        ) from error
    if response.status == 206 and not _continues(response, offset, version):
        response.close()
        return _open(url, 0, None)
    return response


def _refusal(url: str, code: int) -> str:
    if code == 404:
        return f"{url} does not exist (404). Look for the file on the project's page and use --from FILE."
    if code in (401, 403):
        return f"the server refuses {url} ({code}). Download it in a browser and use --from FILE."
    return f"the server answered {code} for {url}. Try again later."


def _continues(response: HTTPResponse, offset: int, version: str | None) -> bool:
    """Whether a partial answer begins where it should, in the same version of the file."""
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    return start is not None and int(start[1]) == offset and _version(response) in (None, version)


def _total(response: HTTPResponse, offset: int) -> int | None:
    length = response.headers.get("Content-Length") or ""
    return offset + int(length) if length.isdecimal() else None


def _check_space(folder: Path, needed: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if needed is not None and needed > free:
        raise ResourceError(
            f"not enough disk space in {folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free. "
            "Free some, or set INCONTEXT_SEG_CACHE to a larger disk."
        )


def _write(response: HTTPResponse, partial: Path, offset: int, total: int | None, progress: Progress | None) -> None:
    """Append the answer at ``offset``; a short answer is an interruption."""
    done, cause = offset, None
    try:
        with partial.open("r+b") as file:
            file.seek(offset)
            while True:
                try:
                    chunk = response.read(CHUNK)
                except (OSError, HTTPException) as error:
                    cause = error
                    break
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            file.truncate()
    except OSError as error:
        raise_write_error(error, partial)
    if cause is not None or (total is not None and done != total):
        of = "" if total is None else f" of {total / 1e6:.1f}"
        raise DownloadError(
            f"the download was interrupted after {done / 1e6:.1f}{of} MB. Run the same command again: it resumes."
        ) from cause
