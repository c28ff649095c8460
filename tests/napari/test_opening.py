"""The dock is found where napari's users look for it."""

import pytest
from npe2 import PluginManager, PluginManifest

from napari_incontext_seg._napari.dock import InContextDock

PLUGIN, COMMAND = "napari-incontext-seg", "napari-incontext-seg.dock"


@pytest.fixture
def manifest():
    return PluginManifest.from_distribution(PLUGIN)


def test_the_manifest_offers_the_dock_as_a_widget(manifest):
    widget = next(w for w in manifest.contributions.widgets if w.command == COMMAND)
    command = next(c for c in manifest.contributions.commands if c.id == COMMAND)
    assert widget.display_name == "Annotate and propagate"
    assert command.python_name == "napari_incontext_seg._napari.dock:InContextDock"


@pytest.mark.parametrize("menu", ["napari/layers/segment", "napari/layers/annotate"])
def test_the_menus_for_segmenting_and_annotating_have_it(manifest, menu):
    assert COMMAND in [item.command for item in manifest.contributions.menus[menu]]


def test_it_opens_as_a_plugin_dock(viewer, manifest):
    manager = PluginManager.instance()
    if PLUGIN not in manager:
        manager.register(manifest)
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN)
    assert isinstance(dock, InContextDock)
    assert dock.viewer is viewer or dock.viewer == viewer
