"""The log of a training run: JSON lines for programs, short ones for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from ..errors import FileError

Say: TypeAlias = Callable[[str], object]
Number: TypeAlias = int | float


class Log:
    """Appends to ``path``; what a run that is resumed at ``step`` had logged beyond it is dropped."""

    def __init__(self, path: Path, step: int, say: Say) -> None:
        self._path, self._say = path, say
        try:
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            path.write_text("".join(line + "\n" for line in kept))
        except (OSError, ValueError, KeyError) as error:
            raise FileError(f"cannot write the log {path}: {error}. Move it away.") from error

    def write(self, **facts: Number) -> None:
        """Log facts, and say them."""
        with self._path.open("a") as file:
            file.write(json.dumps(facts) + "\n")
        self._say("  ".join(f"{name} {_short(value)}" for name, value in facts.items()))


def _short(value: Number) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"
