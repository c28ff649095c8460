"""What the user set in napari's Preferences (napari 0.9 and later), else the defaults."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

PLUGIN = "napari-incontext-seg"


@dataclass(frozen=True)
class Preferences:
    """What a new dock begins with: ``configurations`` in the manifest, where each has its words and its default."""

    model: str = "auto"
    device: str = "auto"
    quality: str = "balanced"


def preferences() -> Preferences:
    """Read the preferences; changes show in the next dock."""
    chosen = _chosen()
    if chosen is None:
        return Preferences()
    return Preferences(**{field.name: getattr(chosen, field.name) for field in fields(Preferences)})


def _chosen() -> Any:
    """The settings that napari made of the manifest, None if it knows none."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # before 0.9
        return None
    try:
        return get_plugin_settings(PLUGIN).defaults
    except KeyError:  # the plugin is there, but switched off
        return None
