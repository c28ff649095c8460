"""Making networks by name, and the same names in timm: ``timm.create_model("seggpt_vit_large_patch16_896x448")``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias, overload

from timm.models import register_model

from ..errors import ModelError
from .config import VARIANTS, SegGptConfig, find_config
from .micro import Micro, MicroConfig
from .seggpt import SegGpt

Network: TypeAlias = SegGpt | Micro
NetworkConfig: TypeAlias = SegGptConfig | MicroConfig


@overload
def create_model(name_or_config: str | SegGptConfig) -> SegGpt: ...
@overload
def create_model(name_or_config: MicroConfig) -> Micro: ...
@overload
def create_model(name_or_config: NetworkConfig) -> Network: ...


def create_model(name_or_config: str | NetworkConfig) -> Network:
    """Make a network with random weights, in evaluation mode.

    Raises
    ------
    ModelError
        No variant has this name.
    """
    config = find_config(name_or_config) if isinstance(name_or_config, str) else name_or_config
    return (Micro(config) if isinstance(config, MicroConfig) else SegGpt(config)).eval()


def _entrypoint(name: str) -> Callable[..., SegGpt]:
    def create(pretrained: bool = False, **settings: Any) -> SegGpt:
        if pretrained:
            raise ModelError(f"timm has no weights of {name}: use `incontext-seg weights fetch` and load the file.")
        # timm hands every entry point these; they speak of pretrained weights only
        for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
            settings.pop(key, None)
        return SegGpt(replace(VARIANTS[name], **settings))

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"`SegGpt` of the variant {name}; keyword arguments are fields of `SegGptConfig`."
    return create


for _name in VARIANTS:
    register_model(_entrypoint(_name))
