"""Preferences > Plugins > In-context segmentation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from napari_incontext_seg._napari.preferences import PLUGIN, Preferences, preferences

npe2 = pytest.importorskip("npe2")
napari_settings = pytest.importorskip("napari.settings")


def declared() -> dict[str, Any]:
    """Default of each preference that the manifest names."""
    manifest = npe2.PluginManifest.from_distribution(PLUGIN)
    return {name: p.default for name, p in manifest.contributions.configurations["defaults"].properties.items()}


@pytest.mark.skipif(
    not hasattr(napari_settings, "get_plugin_settings"), reason="napari before 0.9 has none for plugins"
)
def test_what_was_set_in_naparis_preferences_is_what_a_dock_begins_with(plugin_settings: Any, npe2pm: Any) -> None:
    npe2pm.register(npe2.PluginManifest.from_distribution(PLUGIN))
    settings = napari_settings.get_plugin_settings(PLUGIN)
    assert preferences() == Preferences()
    settings.defaults.quality = "best"
    settings.defaults.model = "guess"
    assert preferences() == Preferences(model="guess", quality="best")


def test_manifest_and_code_have_the_same_defaults() -> None:
    assert declared() == asdict(Preferences())


def test_an_older_napari_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(napari_settings, "get_plugin_settings", raising=False)
    assert preferences() == Preferences()
