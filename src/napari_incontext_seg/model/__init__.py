"""The network. Importing this room registers its variants with timm (and imports torch)."""

from __future__ import annotations

from .config import VARIANTS, SegGptConfig
from .registry import create_model
from .seggpt import SegGpt

__all__ = ["VARIANTS", "SegGpt", "SegGptConfig", "create_model"]
