"""File > Save Selected Layers, for labels: what is read back is what was painted, where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_incontext_seg._napari.writers import write_labels
from napari_incontext_seg.errors import FileError
from napari_incontext_seg.io.stacks import open_labels

npe2 = pytest.importorskip("npe2")
Labels = pytest.importorskip("napari.layers").Labels


@pytest.fixture(autouse=True)
def plugins() -> Any:
    """npe2's manager of the installed plugins."""
    manager = npe2.PluginManager.instance()
    manager.discover()
    return manager


@pytest.fixture
def painted() -> Any:
    """Labels of a z-stack with ids up to uint32, 0.5 um apart, that do not begin at 0."""
    data = np.zeros((4, 12, 10), np.uint32)
    data[1, 2:6, 3:7], data[3, 8:, :4] = 7, 2**32 - 1
    return Labels(
        data, name="cells", scale=(0.5, 0.2, 0.2), translate=(3, 0, 0), units=["um"] * 3, axis_labels=("z", "y", "x")
    )


@pytest.mark.parametrize("name", ["cells.ome.tif", "cells.zarr"])
def test_labels_come_back_with_ids_and_spacing(painted: Any, tmp_path: Path, name: str) -> None:
    """Through napari's own way of saving, which finds the writer by the name of the file."""
    from napari.components import LayerList

    written = LayerList([painted]).save(str(tmp_path / name), plugin="napari-incontext-seg")
    assert str(tmp_path / name) in written
    found = open_labels(tmp_path / name)
    np.testing.assert_array_equal(found.data[:], painted.data)
    assert found.axes == "zyx"
    np.testing.assert_allclose(found.scale, painted.scale)
    assert found.units == ("micrometer",) * 3
    if name.endswith(".zarr"):
        np.testing.assert_allclose(found.translate, painted.translate)


@pytest.mark.parametrize("name", ["labels.ome.tif", "labels.zarr"])
def test_napari_finds_this_writer_by_the_name(plugins: Any, name: str) -> None:
    writer, path = plugins.get_writer(name, ["labels"])
    assert (writer.plugin_name, path) == ("napari-incontext-seg", name)


def test_what_napari_writes_itself_stays_its_own(plugins: Any) -> None:
    """For a name without an ending npe2 takes whichever plugin the file system lists first; that isn't ours to say."""
    writer, _ = plugins.get_writer("labels.tif", ["labels"])
    assert writer.plugin_name == "napari"


def test_of_several_scales_the_full_resolution_is_written(tmp_path: Path) -> None:
    full = np.arange(64, dtype=np.uint8).reshape(8, 8)
    layer = Labels([full, full[::2, ::2]], multiscale=True)
    write_labels(str(tmp_path / "a.ome.tif"), *layer.as_layer_data_tuple()[:2])
    np.testing.assert_array_equal(open_labels(tmp_path / "a.ome.tif").data[:], full)


def test_lazy_labels_of_four_axes_without_names_are_written_plane_by_plane(tmp_path: Path) -> None:
    dask = pytest.importorskip("dask.array")
    data = np.random.default_rng(0).integers(0, 5, (2, 3, 6, 3)).astype(np.uint16)
    layer = Labels(dask.from_array(data, chunks=(1, 1, 6, 3)))
    write_labels(str(tmp_path / "a.zarr"), *layer.as_layer_data_tuple()[:2])
    found = open_labels(tmp_path / "a.zarr")
    assert found.axes == "tzyx"
    np.testing.assert_array_equal(found.data[:], data)


def test_a_folder_is_never_replaced(painted: Any, tmp_path: Path) -> None:
    """napari's dialog asks before it replaces a file; an OME-Zarr is a folder, perhaps the image itself."""
    (tmp_path / "image.zarr").mkdir()
    (tmp_path / "image.zarr" / "zarr.json").write_text("precious")
    with pytest.raises(FileError, match="choose another name"):
        write_labels(str(tmp_path / "image.zarr"), *painted.as_layer_data_tuple()[:2])
    assert (tmp_path / "image.zarr" / "zarr.json").read_text() == "precious"


def test_an_export_of_the_dock_never_replaces_the_image(make_napari_viewer: Any, tmp_path: Path) -> None:
    """An OME-Zarr is a folder, and the dialog for saving may be pointed at the image itself."""
    import zarr

    from napari_incontext_seg._napari.dock import InContextDock

    zarr.save_array(tmp_path / "image.zarr", np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8))
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "image.zarr"), plugin="napari")
    dock = InContextDock(viewer)
    viewer.window.add_dock_widget(dock)
    dock.layers.new.click()
    dock.keeping.export(str(tmp_path / "image.zarr"))
    assert not dock.keeping.job.running
    np.testing.assert_array_equal(np.asarray(zarr.open(tmp_path / "image.zarr"))[3], np.arange(192, 256).reshape(8, 8))
