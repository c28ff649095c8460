"""The networks. A name below is loaded when first used, since a SegGPT needs timm, which takes seconds to import.

Loading one registers the variants of SegGPT with timm.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import VARIANTS as VARIANTS
    from .config import SegGptConfig as SegGptConfig
    from .micro import Micro as Micro
    from .micro import MicroConfig as MicroConfig
    from .registry import create_model as create_model
    from .seggpt import SegGpt as SegGpt

_HOMES = {
    "VARIANTS": "registry",
    "Micro": "micro",
    "MicroConfig": "micro",
    "SegGpt": "registry",
    "SegGptConfig": "registry",
    "create_model": "registry",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
