"""The container of a weights file, told from its first bytes: no torch needed, nothing of the file is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from ..errors import CheckpointError, FileError

Container: TypeAlias = Literal["safetensors", "pickle"]


def identify(path: Path) -> Container:
    """Tell a safetensors file from one that ``torch.save`` wrote.

    Raises
    ------
    FileError
        The file cannot be read.
    CheckpointError
        It is neither; where the content says what it is instead (web page, git-lfs pointer), so does the message.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise FileError(f"cannot read the weights {path}: {error.strerror}. Check the path.") from error
    if not head:
        raise CheckpointError(f"{path} is empty. Fetch or copy the weights again.")
    if head[8:9] == b"{":  # 8 bytes of header length, then JSON
        return "safetensors"
    if head.startswith((b"PK\x03\x04", b"\x80")):  # zip archive; pickle of torch before 1.6
        return "pickle"
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a git-lfs pointer, not the weights themselves. Run `git lfs pull` where it came from."
        )
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise CheckpointError(f"{path} is a web page, not weights. Download the file itself, not the page about it.")
    raise CheckpointError(
        f"{path} is neither a safetensors file nor one written by torch.save. Fetch or copy the weights again."
    )
