"""The command that is copied from a session paints, headless, what the session painted."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from fakes import ArrayPlanes

from napari_incontext_seg.cli.main import main
from napari_incontext_seg.core.example_set import ExampleItem, ExampleSet
from napari_incontext_seg.core.types import Example
from napari_incontext_seg.errors import InputError
from napari_incontext_seg.infer.predictor import load_predictor
from napari_incontext_seg.io.example_sets import load_examples
from napari_incontext_seg.io.stacks import open_labels, open_stack
from napari_incontext_seg.session.project import Project
from napari_incontext_seg.session.replay import RunRecord, command_line
from napari_incontext_seg.session.settings import RunSettings


def discs(seed: int, count: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """A noisy stack of discs that drift, of two brightnesses, and its labels 1 and 2."""
    rows, columns = np.mgrid[:48, :40]
    noise = np.random.default_rng(seed)
    image, labels = np.zeros((count, 48, 40), np.uint8), np.zeros((count, 48, 40), np.uint32)
    for z in range(count):
        labels[z][(rows - 14 - z) ** 2 + (columns - 24) ** 2 < 70] = 1
        labels[z][(rows - 36) ** 2 + (columns - 10 - z) ** 2 < 40] = 2
        image[z] = np.array([60, 170, 115])[labels[z]] + noise.integers(0, 25, (48, 40))
    return image, labels


@pytest.fixture
def work(tmp_path: Path) -> tuple[Path, Project]:
    """A file, and a project about it with two examples of its own, one that is not used, and one from elsewhere."""
    image, labels = discs(0)
    tifffile.imwrite(tmp_path / "cells.tif", image, imagej=True, metadata={"axes": "ZYX"})
    stack = open_stack(tmp_path / "cells.tif")
    project = Project(replace(stack, name="a layer that was renamed"), ArrayPlanes(stack))
    for position in (0, 3, 6):
        project.labels.write(position, labels[position])
        project.add_example(position)
    project.use_example(1, False)
    other, annotated = discs(9, 1)
    item = ExampleItem(Example(other[0].astype(np.float32) / 255, annotated[0]), "other, z 0", "other", 0)
    project.add_item(item)
    return tmp_path, project


@pytest.mark.parametrize(
    ("current", "changes"),
    [
        (0, {}),
        (2, {"where": "onward", "quality": "fast"}),
        (4, {"where": "this"}),
        (0, {"where": "range", "span": (1, 5), "kind": "instance"}),
        (0, {"num_examples": 1, "select": "similar", "ensemble": "none"}),
        (0, {"memory": 2}),
        (0, {"direction": "meet"}),
        (0, {"direction": "meet", "memory": 1, "names": True}),
    ],
)
def test_the_copied_command_gives_the_same_labels(
    work: tuple[Path, Project], current: int, changes: dict[str, Any]
) -> None:
    folder, project = work
    project.settings = RunSettings(model="guess", **changes)
    predictor = load_predictor("guess", quality=project.settings.quality, ensemble=project.settings.ensemble)
    painted = [step.position for step in project.start(predictor, current) if project.commit(step)]
    command = project.command_line(folder / "cells.tif", folder / "mine.incontext", folder / "out.tif")
    words = shlex.split(command)
    assert words[0] == "incontext-seg"
    assert main(words[1:]) == 0
    headless = open_labels(folder / "out.tif").data[:]
    assert painted
    for position in painted:
        np.testing.assert_array_equal(headless[position], project.labels.data[position])
    if project.last_run is not None and project.last_run.span is None:
        np.testing.assert_array_equal(headless, project.labels.data)


@pytest.mark.parametrize("memory", [0, 2])
def test_slices_that_were_verified_come_out_of_the_command_as_they_are(work: tuple[Path, Project], memory: int) -> None:
    folder, project = work
    project.labels.write(2, np.full((48, 40), 2, np.uint32))
    project.verify(2)
    project.labels.write(4, np.zeros((48, 40), np.uint32))  # nothing is there
    project.verify(4)
    project.settings = RunSettings(model="guess", memory=memory)
    for step in project.start(load_predictor("guess")):
        project.commit(step)
    project.verify(5)  # after the run, which painted it: the command does, too
    command = project.command_line(folder / "cells.tif", folder / "mine.incontext", folder / "out.tif")
    assert main(shlex.split(command)[1:]) == 0
    np.testing.assert_array_equal(open_labels(folder / "out.tif").data[:], project.labels.data)
    assert len(load_examples(folder / "mine.incontext")) == 6
    assert len(project.examples) == 4


def test_what_a_person_painted_is_in_the_command_only_of_examples_and_verified_slices(
    work: tuple[Path, Project],
) -> None:
    _, project = work
    for position in (0, 1, 2):  # slice 0 is an example
        project.note_hand_edit(position, np.ones((48, 40), bool))
    assert project.not_repeated == []  # there is no run yet
    project.verify(2)
    project.start(load_predictor("guess"))
    assert project.not_repeated == [1]
    project.verify(1)
    assert project.not_repeated == [1]  # the command is that of the run
    project.start(load_predictor("guess"))
    assert project.not_repeated == []


def test_a_key_is_named_in_the_command(work: tuple[Path, Project]) -> None:
    folder, project = work
    project.settings = RunSettings(model="guess", kind="instance")
    project.start(load_predictor("guess"))
    assert project.last_run is not None
    record = replace(project.last_run, settings=replace(project.last_run.settings, key=folder / "tuned key.incontext"))
    words = shlex.split(
        command_line(
            record, project.stack, image=folder / "cells.tif", examples=folder / "e.incontext", out=folder / "o.tif"
        )
    )
    assert words[words.index("--key") + 1] == str(folder / "tuned key.incontext")
    assert "--kind" not in words  # the key knows


def test_later_changes_do_not_change_the_command(work: tuple[Path, Project]) -> None:
    folder, project = work
    project.settings = RunSettings(model="guess", where="backward")
    project.start(load_predictor("guess"), 4)
    expected = project.command_line(folder / "cells.tif", folder / "mine.incontext", folder / "out.tif")
    project.settings = RunSettings()
    project.remove_example(0)
    assert project.command_line(folder / "cells.tif", folder / "mine.incontext", folder / "out.tif") == expected
    assert "--model guess" in expected
    assert "--range 0:5" in expected


def test_a_command_that_could_not_work_is_refused(work: tuple[Path, Project]) -> None:
    folder, project = work
    places = {"examples": folder / "mine.incontext", "out": folder / "out.tif"}
    with pytest.raises(InputError, match="run the model first"):
        project.command_line(folder / "cells.tif", **places)
    project.start(load_predictor("guess"))
    tifffile.imwrite(folder / "half.tif", np.zeros((3, 48, 40), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match=r"half\.tif holds an image of \(3, 48, 40\)"):
        project.command_line(folder / "half.tif", **places)
    assert not (folder / "mine.incontext").exists()


def test_one_slice_of_a_time_lapse_of_stacks_cannot_be_named_in_a_command(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "tz.tif", np.zeros((2, 3, 8, 9), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    record = RunRecord(ExampleSet(), RunSettings(where="this"), (1, 2))
    with pytest.raises(InputError, match="cannot name one slice along t and z"):
        command_line(
            record, open_stack(tmp_path / "tz.tif"), image=tmp_path / "tz.tif", examples=tmp_path / "e", out=tmp_path
        )
