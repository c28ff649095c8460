"""`TensorFormat`: our own files of arrays and facts, safetensors with JSON beside them, told apart by a mark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from ..errors import InContextError


@dataclass(frozen=True)
class TensorFormat:
    """A kind of file.

    Parameters
    ----------
    name
        What people call such a file.
    mark, version
        Stand in its metadata.
    max_bytes
        More is something else, and is not read into memory.
    others, remedy
        What else the file may be, and how to get the right one.
    error
        Raised for a file of another kind.
    """

    name: str
    mark: str
    version: int
    max_bytes: int
    others: str
    remedy: str
    error: type[InContextError]

    @property
    def metadata(self) -> dict[str, str]:
        """What such a file's metadata holds besides its facts."""
        return {"format": self.mark, "version": str(self.version)}

    def read(self, path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
        """Metadata and arrays of a file; foreign bytes may make it raise anything."""
        with path.open("rb") as file:
            head = file.read(9)
        if head[8:] != b"{" or path.stat().st_size > self.max_bytes:  # 8 bytes of header length, then JSON
            raise self.error(f"this is no {self.name}. {self.remedy}")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != self.mark:
                raise self.error(f"this is no {self.name}, but perhaps {self.others}. {self.remedy}")
            version = metadata.get("version", "")
            if version != str(self.version):
                raise self.error(
                    f"this {self.name} has version {version!r}; this program reads {self.version}. Update the program."
                )
            return metadata, {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
