"""Published weights by name: where they come from, where they lie on this machine, whether they are unchanged.

Nothing here touches the network but `fetch`. No digest of these files is known to us for certain, so none is written
here: the digest of what came first is recorded beside the file, and checked from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import CheckpointError, DownloadError, FileError, ModelError
from .container import identify
from .download import Progress, download, raise_write_error


@dataclass(frozen=True)
class KnownWeights:
    """A file of weights that somebody published.

    Parameters
    ----------
    name
        What users call it; also its file name here.
    repository, file
        Place on the Hugging Face hub.
    licence
        Licence and who states it.
    size
        Bytes, where known for certain.
    approximate_size
        For people, where it is not.
    digest
        SHA-256, where its publisher states one.
    """

    name: str
    repository: str
    file: str
    licence: str
    size: int | None = None
    approximate_size: str = "unknown"
    digest: str | None = None

    @property
    def size_text(self) -> str:
        """The size for people."""
        return self.approximate_size if self.size is None else f"{self.size / 1e9:.2f} GB"

    def url(self, base_url: str | None = None) -> str:
        """Address of the file on the hub, or on the mirror ``base_url``."""
        base = base_url or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        return f"{base.rstrip('/')}/{self.repository}/resolve/main/{self.file}"


# 371 million parameters in float32 are 1.48 GB; the exact sizes of the files are not known to us.
_LARGE = "about 1.5 GB"
_WEIGHTS = (
    KnownWeights(
        "seggpt-vit-large",
        "BAAI/SegGPT",
        "seggpt_vit_large.pth",
        "MIT (Painter repository)",
        approximate_size=_LARGE,
    ),
    KnownWeights(
        "painter-vit-large",
        "BAAI/Painter",
        "painter_vit_large.pth",
        "MIT (Painter repository)",
        approximate_size=_LARGE,
    ),
    KnownWeights(
        "seggpt-vit-large-transformers",
        "BAAI/seggpt-vit-large",
        "model.safetensors",
        "Apache-2.0 (model card)",
        approximate_size=_LARGE,
    ),
)


@dataclass(frozen=True)
class Record:
    """What was noted about a file when it came: SHA-256, bytes, source, and date (ISO 8601, UTC)."""

    digest: str
    size: int
    source: str
    date: str


def known_weights() -> tuple[KnownWeights, ...]:
    """Return all weights that can be fetched by name."""
    return _WEIGHTS


def weights_directory() -> Path:
    """Return the folder of fetched weights; the environment variable INCONTEXT_SEG_CACHE moves it."""
    from platformdirs import user_cache_dir

    cache = os.environ.get("INCONTEXT_SEG_CACHE") or user_cache_dir("napari-incontext-seg", appauthor=False)
    return Path(cache).expanduser() / "weights"


def path(name: str) -> Path:
    """Return where the weights lie, or would lie, on this machine."""
    weights = _known(name)
    return weights_directory() / (weights.name + Path(weights.file).suffix)


def find(name: str) -> Path | None:
    """Return the file if the weights are on this machine."""
    file = path(name)
    return file if file.is_file() else None


def find_record(name: str) -> Record | None:
    """Return what was noted when the weights came, None if they never came or the note cannot be read."""
    try:
        return Record(**json.loads(_record_path(path(name)).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def verify(name: str) -> Record:
    """Compare the weights on this machine with the digest that their publisher states, or else with the recorded one.

    Raises
    ------
    DownloadError
        They are not here, no digest was ever recorded, or they have changed.
    """
    file, record = find(name), find_record(name)
    if file is None:
        raise DownloadError(f"the weights {name} are not on this machine: run `incontext-seg weights fetch {name}`.")
    if record is None:
        raise DownloadError(
            f"no digest of {name} was recorded, so there is nothing to compare {file} with. "
            f"`incontext-seg weights fetch {name}` records it as it is."
        )
    digest = sha256(file)
    if digest != (_known(name).digest or record.digest):
        raise DownloadError(_changed(name, digest, f"run `incontext-seg weights fetch {name}` to replace it"))
    return record


def fetch(
    name: str, *, source: Path | None = None, base_url: str | None = None, progress: Progress | None = None
) -> Path:
    """Bring weights onto this machine and return their file. What is here and unchanged is left as it is.

    Parameters
    ----------
    source
        A file to copy instead of downloading, for machines without a network.
    base_url
        Mirror of the hub; default the environment variable HF_ENDPOINT, else the hub itself.
    progress
        Called with bytes done and bytes in all (None when unknown).

    Raises
    ------
    DownloadError
        No network, no such file, interrupted (run again, it resumes), or another file than expected.
    ResourceError
        The disk is full.
    FileError
        The source cannot be read, or the folder not written.
    """
    weights, target = _known(name), path(name)
    record = find_record(name)
    expected = weights.digest or (record.digest if record else None)
    if source is None and target.is_file() and _keep(target, record, expected):
        return target
    arrived = target.with_name(target.name + (".partial" if source is None else ".copy"))
    if source is None:
        origin = weights.url(base_url)
        download(origin, arrived, progress)
    else:
        origin = str(source)
        _copy(Path(source).expanduser(), arrived, progress)
    digest = _check_arrived(weights, arrived, expected)
    try:
        arrived.replace(target)
    except OSError as error:
        raise_write_error(error, target)
    _write_record(target, digest, origin)
    return target


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"cannot read {file}: {error.strerror}. Check its permissions.") from error


def _known(name: str) -> KnownWeights:
    for weights in _WEIGHTS:
        if weights.name == name:
            return weights
    raise ModelError(f"no weights are called {name!r}; known are {', '.join(w.name for w in _WEIGHTS)}.")


def _keep(target: Path, record: Record | None, expected: str | None) -> bool:
    """Whether the file that is here will do; one that was put here by hand is recorded now."""
    digest = sha256(target)
    if expected is not None and digest != expected:
        return False
    if record is None:
        identify(target)
        _write_record(target, digest, "found in the cache")
    return True


def _check_arrived(weights: KnownWeights, arrived: Path, expected: str | None) -> str:
    """Return the digest of what came; what cannot be the weights is deleted and refused."""
    try:
        identify(arrived)
        if weights.size is not None and arrived.stat().st_size != weights.size:
            raise DownloadError(
                f"{weights.name} must be {weights.size} bytes; {arrived.stat().st_size} came. Fetch it again."
            )
        digest = sha256(arrived)
        if expected is not None and digest != expected:
            note = _record_path(path(weights.name))
            raise DownloadError(
                _changed(weights.name, digest, f"if you trust the new file, delete {note} and fetch again")
            )
    except CheckpointError as error:
        arrived.unlink()
        raise DownloadError(f"what came is not {weights.name}: {error}") from error
    except DownloadError:
        arrived.unlink()
        raise
    return digest


def _changed(name: str, digest: str, remedy: str) -> str:
    record = find_record(name)
    expected = _known(name).digest or (record.digest if record else "unknown")
    return f"{name} is not the expected file: its SHA-256 must be {expected}, but is {digest}; {remedy}."


def _copy(source: Path, target: Path, progress: Progress | None) -> None:
    if not source.is_file():
        raise FileError(f"{source} is not a file. Give the weights file itself.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise_write_error(error, target)
    if progress is not None:
        progress(target.stat().st_size, target.stat().st_size)


def _record_path(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def _write_record(file: Path, digest: str, source: str) -> None:
    record = Record(digest, file.stat().st_size, source, datetime.now(UTC).isoformat(timespec="seconds"))
    beside = _record_path(file).with_suffix(".tmp")
    try:
        beside.write_text(json.dumps(asdict(record), indent=2))
        beside.replace(_record_path(file))
    except OSError as error:
        raise_write_error(error, _record_path(file))
