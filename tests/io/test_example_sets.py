"""Example sets: changes give new sets, and a file gives back exactly what was saved, or says what is wrong with it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from napari_incontext_seg.core.example_set import ExampleItem, ExampleSet
from napari_incontext_seg.core.types import Example
from napari_incontext_seg.errors import FileError, InputError
from napari_incontext_seg.io.example_sets import load_examples, save_examples


def example(seed: int = 0, *, channels: int = 1, sparse: bool = False, largest: int = 2**32 - 1) -> Example:
    rng = np.random.default_rng(seed)
    image = rng.random((6, 5, channels), np.float32)
    labels = rng.choice(np.array([0, 1, largest], np.uint32), (6, 5))
    labels[0, :2] = 0, largest
    valid = rng.random((6, 5)) > 0.3 if sparse else None
    return Example(image, labels, valid, (0.25, 0.5) if sparse else None)


@pytest.fixture
def examples() -> ExampleSet:
    items = (
        ExampleItem(example(0), "ovule, z 12", "ovule", 12, (12,)),
        ExampleItem(example(1, channels=3, sparse=True), "µ, t 1, z 2", "Bild", 7, (1, 2), used=False),
        ExampleItem(example(2), "from a colleague"),
    )
    return ExampleSet(items, "instance", {1: "wall", 2**32 - 1: "Zelle"}, {1: (1.0, 0.5, 0.0)}, ignore_label=9)


def same(a: ExampleSet, b: ExampleSet) -> bool:
    def facts(s: ExampleSet) -> Any:
        items = [(i.name, i.source, i.position, i.index, i.used, i.example.digest) for i in s.items]
        return items, s.kind, dict(s.class_names), dict(s.class_colors), s.ignore_label

    return facts(a) == facts(b)


# -- changes ------------------------------------------------------------------------------------------------------
def test_every_change_gives_a_new_set(examples: ExampleSet) -> None:
    def names(s: ExampleSet) -> list[str]:
        return [item.name for item in s.items]

    first, second, third = names(examples)
    assert names(examples.removed(1)) == [first, third]
    assert names(examples.moved(2, 0)) == [third, first, second]
    assert names(examples.moved(0, 2)) == [second, third, first]
    assert names(examples.renamed(0, "new")) == ["new", second, third]
    assert names(examples.added(replace(examples.items[0], name="more"))) == [first, second, third, "more"]
    assert [i.used for i in examples.with_used(1, True).items] == [True] * 3
    assert names(examples) == [first, second, third]
    with pytest.raises(InputError, match="no example 3"):
        examples.removed(3)


def test_the_context_has_the_used_examples_in_their_order(examples: ExampleSet) -> None:
    context = examples.moved(2, 0).context()
    assert [e.digest for e in context.examples] == [examples.items[2].example.digest, examples.items[0].example.digest]
    assert (context.kind, context.class_names[1]) == ("instance", "wall")
    assert len(examples.context(excluding=(0,)).examples) == 1
    with pytest.raises(InputError, match="tick one"):
        examples.context(excluding=(0, 2))


def test_an_example_is_found_by_where_it_is_from(examples: ExampleSet) -> None:
    assert examples.find("Bild", 7) == 1
    assert examples.find("ovule", 7) is None


# -- files --------------------------------------------------------------------------------------------------------
def test_a_file_gives_back_exactly_what_was_saved(examples: ExampleSet, tmp_path: Path) -> None:
    file = save_examples(tmp_path / "set.incontext", examples)
    assert same(load_examples(file), examples)
    assert [p.name for p in tmp_path.iterdir()] == ["set.incontext"]


def test_an_empty_set_can_be_kept(tmp_path: Path) -> None:
    assert same(load_examples(save_examples(tmp_path / "none.incontext", ExampleSet())), ExampleSet())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 999), st.sampled_from([1, 3]), st.booleans(), st.integers(1, 2**32 - 1), st.text(max_size=20))
def test_any_example_comes_back(
    tmp_path: Path, seed: int, channels: int, sparse: bool, largest: int, name: str
) -> None:
    made = ExampleSet((ExampleItem(example(seed, channels=channels, sparse=sparse, largest=largest), name, name, 3),))
    file = save_examples(tmp_path / "set.incontext", made, overwrite=True)
    assert same(load_examples(file), made)


def test_the_suffix_is_appended_and_nothing_is_replaced_unasked(examples: ExampleSet, tmp_path: Path) -> None:
    file = save_examples(tmp_path / "set", examples)
    assert file.name == "set.incontext"
    with pytest.raises(FileError, match="exists"):
        save_examples(tmp_path / "set", examples)
    save_examples(tmp_path / "set", examples.removed(0), overwrite=True)
    assert len(load_examples(file)) == 2


def test_files_that_are_no_example_set_are_told_from_damaged_ones(tmp_path: Path) -> None:
    (tmp_path / "web.incontext").write_text("<html>not found</html>")
    with pytest.raises(FileError, match="no example set"):
        load_examples(tmp_path / "web.incontext")
    save_file({"a": np.zeros(3)}, tmp_path / "weights.incontext")
    with pytest.raises(FileError, match=r"perhaps a key .* or weights"):
        load_examples(tmp_path / "weights.incontext")
    with pytest.raises(FileError, match="Check the path"):
        load_examples(tmp_path / "missing.incontext")


def test_a_newer_version_asks_for_an_update(examples: ExampleSet, tmp_path: Path) -> None:
    file = tampered(save_examples(tmp_path / "set.incontext", examples), version="2")
    with pytest.raises(FileError, match="Update the program"):
        load_examples(file)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "magic"},
        {"ignore_label": 1.5},
        {"ignore_label": True},
        {"class_names": [["1", "wall"]]},
        {"class_colors": [[1, [1, 0]]]},
        {"class_colors": [[1, [2, 0, 0]]]},
        {"items": []},
        {"items": "none"},
        {"items.0": {"position": -1}},
        {"items.0": {"position": "12"}},
        {"items.0": {"index": [0.5]}},
        {"items.0": {"used": 1}},
        {"items.0": {"spacing": [1.0]}},
        {"items.0": {"name": None}},
    ],
)
def test_every_field_is_checked(examples: ExampleSet, tmp_path: Path, change: dict[str, Any]) -> None:
    def apply(facts: dict[str, Any]) -> None:
        for name, value in change.items():
            if name == "items.0":
                facts["items"][0].update(value)
            else:
                facts[name] = value

    file = tampered(save_examples(tmp_path / "set.incontext", examples), apply=apply)
    with pytest.raises(FileError, match=r"set\.incontext"):
        load_examples(file)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("0.image", np.full((6, 5, 1), 2, np.float32)),
        ("0.image", np.full((6, 5, 1), np.nan, np.float32)),
        ("0.image", np.zeros((6, 5), np.float32)),
        ("0.labels", np.zeros((6, 5), np.int64)),
        ("0.labels", np.zeros((4, 4), np.uint8)),
        ("9.image", np.zeros((6, 5, 1), np.float32)),
    ],
)
def test_every_array_is_checked(examples: ExampleSet, tmp_path: Path, name: str, array: np.ndarray) -> None:
    file = tampered(save_examples(tmp_path / "set.incontext", examples), arrays={name: array})
    with pytest.raises(FileError, match=r"set\.incontext"):
        load_examples(file)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_refused_or_read_but_never_crashes(
    examples: ExampleSet, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(save_examples(tmp_path / "set.incontext", examples, overwrite=True).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.incontext"
    damaged.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    with suppress(FileError):  # a changed pixel cannot be told; anything else is told, and as this
        load_examples(damaged)


def tampered(
    file: Path, *, apply: Any = None, arrays: dict[str, np.ndarray] | None = None, version: str | None = None
) -> Path:
    """Write the file again with other content."""
    with safe_open(file, framework="numpy") as opened:
        metadata = opened.metadata()
        held = {name: np.array(opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118
    facts = json.loads(metadata["examples"])
    if apply is not None:
        apply(facts)
    metadata["examples"] = json.dumps(facts)
    metadata["version"] = version or metadata["version"]
    save_file(held | (arrays or {}), file, metadata)
    return file
