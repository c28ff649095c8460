"""Example sets on the command line: made, listed, and used by propagate and tune."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_incontext_seg.cli.main import main
from napari_incontext_seg.core.example_set import ExampleItem
from napari_incontext_seg.io.example_sets import load_examples, save_examples
from napari_incontext_seg.io.stacks import open_stack
from napari_incontext_seg.session.plan import split_examples


def write(path: Path, data: np.ndarray) -> None:
    tifffile.imwrite(path, data, photometric="minisblack", metadata={"axes": "ZYX"})


def discs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy stack of drifting discs, and its labels (3)."""
    rows, columns = np.mgrid[:40, :40]
    noise = np.random.default_rng(seed)
    labels = np.stack([((rows - 12 - z) ** 2 + (columns - 20) ** 2 < 80) * np.uint8(3) for z in range(5)])
    return np.where(labels > 0, 160, 60).astype(np.uint8) + noise.integers(0, 20, labels.shape, np.uint8), labels


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Two stacks of the same thing, the first with slices 0 and 3 annotated, and the set made of them."""
    image, labels = discs(0)
    write(tmp_path / "image.tif", image)
    write(tmp_path / "labels.tif", np.where(np.isin(np.arange(5), [0, 3])[:, None, None], labels, 0).astype(np.uint8))
    write(tmp_path / "truth.tif", labels)
    write(tmp_path / "other.tif", discs(1)[0])
    assert make(tmp_path) == 0
    return tmp_path


def make(folder: Path, *more: str) -> int:
    files = [str(folder / name) for name in ("image.tif", "labels.tif", "set.incontext")]
    return main(["examples", "make", files[0], "--labels", files[1], "--out", files[2], *more])


def run(folder: Path, *arguments: str, image: str = "image.tif", out: str = "out.tif") -> int:
    given = ["propagate", str(folder / image), "--out", str(folder / out), "--model", "guess", *arguments]
    return main([*given, "--examples", str(folder / "set.incontext")])


def test_a_set_is_made_of_the_annotated_slices(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = load_examples(job / "set.incontext")
    assert [(i.name, i.source, i.position, i.index) for i in examples.items] == [
        ("image, z 0", "image", 0, (0,)),
        ("image, z 3", "image", 3, (3,)),
    ]
    assert examples.kind == "semantic"
    assert make(job) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert make(job, "--overwrite") == 0


def test_examples_of_an_image_of_a_folder_are_its_annotation(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, labels = discs(0)
    (job / "images").mkdir()
    for z in range(3):
        tifffile.imwrite(job / "images" / f"cell{z}.tif", image[z])
    drawn = labels[1].copy()
    drawn[30:34, 5:9] = 3  # nothing is seen there
    tifffile.imwrite(job / "cell1.tif", drawn)
    files = [str(job / name) for name in ("images/cell1.tif", "cell1.tif", "set.incontext")]
    assert main(["examples", "make", files[0], "--labels", files[1], "--out", files[2], "--overwrite"]) == 0
    assert run(job, image="images", out="painted") == 0
    assert "3 images (1 annotated)" in capsys.readouterr().out
    np.testing.assert_array_equal(tifffile.imread(job / "painted" / "cell1.tif"), drawn)
    loaded = load_examples(job / "set.incontext")
    elsewhere = ExampleItem(loaded.items[0].example, "elsewhere", "elsewhere", 7)
    unused = replace(loaded, items=(replace(loaded.items[0], used=False), elsewhere))
    save_examples(job / "set.incontext", unused, overwrite=True)
    assert run(job, image="images", out="not_shown") == 0
    np.testing.assert_array_equal(tifffile.imread(job / "not_shown" / "cell1.tif"), drawn)


def test_an_example_that_is_in_the_set_twice_is_never_one_from_elsewhere(job: Path) -> None:
    stack, loaded = open_stack(job / "image.tif").normalized(), load_examples(job / "set.incontext")
    first = loaded.items[0]
    other = replace(first, name="renamed", source="renamed")
    for twins in ((first, other), (first, replace(other, used=False)), (replace(first, used=False), other)):
        split = split_examples(replace(loaded, items=twins), stack)
        assert (list(split.annotations), split.context) == ([0], None)


def test_a_forgotten_extension_is_noticed(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(job, out="result") == 1
    assert "result has no extension, so it was taken for a folder: did you mean result.tif?" in capsys.readouterr().err
    assert not (job / "result").exists()


def test_a_set_is_listed(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["examples", "list", str(job / "set.incontext")]) == 0
    said = capsys.readouterr().out
    assert "2 examples (semantic)" in said
    assert "image, z 3: 40 x 40 pixels, 1 label\n" in said
    assert main(["examples", "list", str(job / "set.incontext"), "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [row["position"] for row in told["examples"]] == [0, 3]


def test_examples_of_the_image_itself_are_its_annotated_slices(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(job, "--json") == 0
    assert json.loads(capsys.readouterr().out)["annotated"] == [0, 3]
    with_set, truth = tifffile.imread(job / "out.tif"), tifffile.imread(job / "truth.tif")
    np.testing.assert_array_equal(with_set[[0, 3]], truth[[0, 3]])
    labels = ["--labels", str(job / "labels.tif"), "--model", "guess", "--no-picture"]
    assert main(["propagate", str(job / "image.tif"), "--out", str(job / "by_labels.tif"), *labels]) == 0
    np.testing.assert_array_equal(with_set, tifffile.imread(job / "by_labels.tif"))


def test_an_image_of_the_same_name_and_size_is_another_image(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is taken for annotated because of a name: many files are called image.tif."""
    (job / "elsewhere").mkdir()
    (job / "other.tif").rename(job / "elsewhere" / "image.tif")
    assert run(job, "--json", image="elsewhere/image.tif") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["annotated"] == []
    assert ((tifffile.imread(job / "out.tif") == 3) == (discs(1)[1] > 0)).mean() > 0.97


def test_an_example_that_is_not_used_comes_out_as_it_is(job: Path) -> None:
    examples = load_examples(job / "set.incontext")
    odd = np.zeros((40, 40), np.uint32)
    odd[:5, :5] = 9
    first, second = examples.items
    unused = replace(second, example=replace(second.example, labels=odd), used=False)
    save_examples(job / "set.incontext", replace(examples, items=(first, unused)), overwrite=True)
    assert run(job) == 0
    out = tifffile.imread(job / "out.tif")
    np.testing.assert_array_equal(out[3], odd)
    assert set(np.unique(out[[0, 1, 2, 4]])) == {0, 3}


def test_labels_join_a_set_and_win_over_it(job: Path) -> None:
    truth = tifffile.imread(job / "truth.tif")
    corrected = np.zeros_like(truth)
    corrected[3], corrected[4] = np.where(truth[3] > 0, 3, 0) * (np.arange(40) < 20), truth[4]
    write(job / "corrected.tif", corrected)
    assert run(job, "--labels", str(job / "corrected.tif")) == 0
    out = tifffile.imread(job / "out.tif")
    np.testing.assert_array_equal(out[[0, 3, 4]], np.stack([truth[0], corrected[3], corrected[4]]))


def test_images_that_are_no_stack_are_painted_after_a_set(job: Path) -> None:
    (job / "images").mkdir()
    for name, plane in zip("ab", discs(2)[0], strict=False):
        tifffile.imwrite(job / "images" / f"{name}.tif", plane)
    assert run(job, image="images", out="painted") == 0
    assert ((tifffile.imread(job / "painted" / "b.tif") == 3) == (discs(2)[1][1] > 0)).mean() > 0.97


def test_sparse_annotation_is_kept_in_a_set(job: Path) -> None:
    scribbles = np.zeros((5, 40, 40), np.uint8)
    scribbles[0, 12, 10:30], scribbles[0, 30, :] = 2, 1
    scribbles[0, 12, 14:26] = 2
    write(job / "labels.tif", scribbles)
    assert make(job, "--ignore-label", "0", "--overwrite") == 0
    (item,) = load_examples(job / "set.incontext").items
    np.testing.assert_array_equal(item.example.valid, scribbles[0] > 0)
    assert run(job) == 0
    assert set(np.unique(tifffile.imread(job / "out.tif"))) <= {1, 2}


def test_a_model_is_tuned_on_a_set(job: Path) -> None:
    given = ["tune", str(job / "other.tif"), "--examples", str(job / "set.incontext"), "--seconds", "1s"]
    assert main([*given, "--save", str(job / "a.key")]) == 0
    key = ["--key", str(job / "a.key"), "--no-picture"]
    assert main(["propagate", str(job / "other.tif"), "--out", str(job / "keyed.tif"), *key]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["propagate", "image.tif", "--out", "o.tif"], "--labels), an example set (--examples), or a key"),
        (["tune", "image.tif", "--save", "o.key"], "--labels), or an example set (--examples)"),
        (["propagate", "image.tif", "--out", "o.tif", "--examples", "image.tif"], "no example set"),
        (
            ["examples", "make", "image.tif", "--labels", "labels.tif", "--out", "walls.zip"],
            "an example set is a file NAME.incontext; got walls.zip: name it walls.incontext.",
        ),
        (["propagate", "image.tif", "--out", "o.tif", "--examples", "no.incontext"], "Check the path"),
        (["propagate", "image.tif", "--out", "o.tif", "--examples", "unused.incontext"], "tick one"),
        (
            ["propagate", "image.tif", "--out", "set.tif", "--examples", "set.incontext", "--annotated", "1"],
            "give labels",
        ),
    ],
)
def test_what_does_not_go_is_told(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    examples = load_examples(job / "set.incontext")
    items: tuple[ExampleItem, ...] = tuple(replace(item, used=False) for item in examples.items)
    save_examples(job / "unused.incontext", replace(examples, items=items))
    monkeypatch.chdir(job)
    assert main(arguments) in (1, 2)
    assert message in capsys.readouterr().err


def test_another_number_of_channels_is_told_as_the_file_has_it(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = np.stack([tifffile.imread(job / "other.tif")] * 2, axis=1)
    tifffile.imwrite(job / "two.tif", two, imagej=True, metadata={"axes": "ZCYX"})
    assert run(job, image="two.tif") == 1
    assert "the examples show 1 channel, the image 2 channels" in capsys.readouterr().err
    assert run(job, "--channels", "0", image="two.tif") == 0
