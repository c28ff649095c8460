"""What made a result: versions and date, beside what the caller knows (model, context, settings)."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

SOFTWARE = "napari-incontext-seg"


def provenance_record(known: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``known`` with versions and date, as plain values for JSON."""
    return {
        "software": SOFTWARE,
        "versions": _versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **_plain(known or {}),
    }


def _versions() -> dict[str, str]:
    try:
        own = version(SOFTWARE)
    except PackageNotFoundError:  # run from a source tree
        own = "unknown"
    versions = {SOFTWARE: own, "python": platform.python_version(), "numpy": np.__version__}
    torch = sys.modules.get("torch")  # only told when used; never imported for its version
    return {**versions, "torch": str(torch.__version__)} if torch is not None else versions


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
