"""An example set dropped on napari: an image layer and a labels layer that hold its examples."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest

from napari_incontext_seg._napari.readers import KEY, get_reader
from napari_incontext_seg.core.example_set import ExampleItem, ExampleSet
from napari_incontext_seg.core.types import Example
from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.io.example_sets import save_examples

npe2 = pytest.importorskip("npe2")
pytest.importorskip("napari")


def item(shape: tuple[int, ...], label: int, *, sparse: bool = False, spacing: Any = (0.5, 0.25)) -> ExampleItem:
    labels = np.zeros(shape[:2], np.uint32)
    labels[2:4, 1:3] = label
    valid = np.arange(shape[1]) < 3 if sparse else np.ones(shape[1], bool)
    image = np.random.default_rng(label).random(shape, np.float32)
    return ExampleItem(
        Example(image, labels, np.broadcast_to(valid, shape[:2]), spacing), f"cell {label}", "cells", label
    )


def opened(file: Path) -> list[Any]:
    """The layers that napari makes of a file, by the reader that the manifest names for it."""
    from napari.layers import Layer

    npe2.PluginManager.instance().discover()
    data, reader = npe2.read_get_reader([str(file)], stack=False)
    assert reader.plugin_name == "napari-incontext-seg"
    return [Layer.create(*one) for one in data]


def test_examples_become_an_image_and_a_labels_layer(tmp_path: Path) -> None:
    examples = ExampleSet(
        (item((6, 5), 3), item((6, 5), 2**32 - 1)), class_names={3: "nucleus"}, class_colors={3: (1, 0, 0)}
    )
    file = save_examples(tmp_path / "cells.incontext", examples)
    image, labels = opened(file)
    assert (image.name, labels.name) == ("cells", "cells labels")
    for layer in (image, labels):
        assert layer.data.shape == (2, 6, 5)
        np.testing.assert_allclose(layer.scale, (1, 0.5, 0.25))
        assert [str(u) for u in layer.units] == ["pixel", "micrometer", "micrometer"]
        assert layer.axis_labels == ("i", "y", "x")
        assert layer.metadata[KEY] == str(file)
    for k, one in enumerate(examples.items):
        np.testing.assert_array_equal(image.data[k], one.example.image[..., 0])
        np.testing.assert_array_equal(labels.data[k], one.example.labels)
    assert list(image.contrast_limits) == [0, 1]
    np.testing.assert_allclose(labels.get_color(3), (1, 0, 0, 1))
    assert list(labels.features["class"]) == ["nucleus"]


def test_what_is_not_annotated_has_the_ignore_label(tmp_path: Path) -> None:
    file = save_examples(tmp_path / "a.incontext", ExampleSet((item((6, 5), 3, sparse=True),), ignore_label=9))
    _, labels = opened(file)
    assert (labels.data[0, :, 3:] == 9).all()
    assert set(np.unique(labels.data[0, :, :3])) == {0, 3}


def test_examples_of_other_sizes_and_colours_get_layers_of_their_own(tmp_path: Path) -> None:
    items = (item((6, 5), 1), item((8, 8, 3), 2), item((6, 5), 3, spacing=None), item((6, 5), 4))
    layers = opened(save_examples(tmp_path / "mixed.incontext", ExampleSet(items)))
    assert [layer.name for layer in layers[::2]] == ["mixed 1", "mixed 2", "mixed 3"]
    assert [layer.data.shape for layer in layers[1::2]] == [(2, 6, 5), (1, 8, 8), (1, 6, 5)]
    assert [layer.rgb for layer in layers[::2]] == [False, True, False]


def test_other_files_are_left_to_other_readers() -> None:
    assert get_reader("image.tif") is None
    assert get_reader(["a.incontext", "image.tif"]) is None
    assert get_reader(["a.incontext", "B.INCONTEXT"]) is not None


def test_a_damaged_file_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.incontext").write_text("nothing")
    reader = get_reader(str(tmp_path / "a.incontext"))
    assert reader is not None
    with pytest.raises(FileError, match="no example set"):
        reader(str(tmp_path / "a.incontext"))
    empty = str(save_examples(tmp_path / "empty.incontext", ExampleSet()))
    with pytest.raises(InputError, match="holds no example"):
        reader(empty)


def test_the_file_menu_opens_example_sets(
    make_napari_viewer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from qtpy.QtWidgets import QFileDialog

    contributions = npe2.PluginManifest.from_distribution("napari-incontext-seg").contributions
    (entry,) = contributions.menus["napari/file/io_utilities"]
    (command,) = (c for c in contributions.commands if c.id == entry.command)
    file = save_examples(tmp_path / "cells.incontext", ExampleSet((item((6, 5), 3),)))
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(file)], ""))
    npe2.PluginManager.instance().discover()
    viewer = make_napari_viewer()
    resolve_name(command.python_name)()
    assert [layer.name for layer in viewer.layers] == ["cells", "cells labels"]
