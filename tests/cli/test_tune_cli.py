"""``incontext-seg tune``, ``propagate --tune`` and ``propagate --key``, as a person types them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import typer

from napari_incontext_seg import Key, load_predictor
from napari_incontext_seg.cli.main import main
from napari_incontext_seg.cli.options import parse_duration
from napari_incontext_seg.infer.prompt_tuning import PromptTuner
from napari_incontext_seg.model.checkpoint import save_model
from napari_incontext_seg.model.registry import create_model


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A stack of discs with its first slice annotated, two small networks, and the first images as single files."""
    rows, columns = np.mgrid[:60, :60]
    image, labels = np.zeros((4, 60, 60), np.uint8), np.zeros((4, 60, 60), np.uint8)
    noise = np.random.default_rng(0)
    for z in range(4):
        disc = ((rows - 18 - z) ** 2 + (columns - 20) ** 2 < 120) | ((rows - 42) ** 2 + (columns - 38 - z) ** 2 < 100)
        image[z] = np.where(disc, 160, 60) + noise.integers(0, 20, (60, 60))
        labels[z] = disc * 3
    tifffile.imwrite(tmp_path / "image.tif", image, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "labels.tif", np.where(np.arange(4)[:, None, None] == 0, labels, 0).astype(np.uint8))
    for folder in ("images", "annotated"):
        (tmp_path / folder).mkdir()
    for z in range(2):
        tifffile.imwrite(tmp_path / "images" / f"cell{z}.tif", image[z])
    tifffile.imwrite(tmp_path / "annotated" / "cell1.tif", labels[1])
    for seed, name in enumerate(("tiny", "other")):
        torch.manual_seed(seed)
        save_model(create_model("seggpt_tiny_test"), tmp_path / f"{name}.safetensors")
    return tmp_path


def tune(job: Path, *arguments: str, labels: str = "labels.tif", image: str = "image.tif") -> int:
    return main(
        ["tune", str(job / image), "--labels", str(job / labels), "--save", str(job / "cells.key"),
         "--model", str(job / "tiny.safetensors"), "--seconds", "0.3s", *arguments]
    )  # fmt: skip


def press_control_c() -> None:
    """From the thread that learns, and wait until the main thread has taken notice."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.5)


def propagate(job: Path, *arguments: str, model: str = "tiny.safetensors", image: str = "image.tif") -> int:
    return main(
        ["propagate", str(job / image), "--out", str(job / "out.tif"), "--model", str(job / model), *arguments]
    )  # fmt: skip


def test_a_key_is_tuned_and_used_without_labels(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(job) == 0
    said = capsys.readouterr()
    assert "held-out part" in said.err
    assert f"wrote {job / 'cells.key'}" in said.out
    key = Key.load(job / "cells.key")
    assert (key.model, key.ids, key.kind) == ("tiny", (0, 3), "semantic")
    assert propagate(job, "--key", str(job / "cells.key")) == 0
    assert "4 slices (0 annotated)" in capsys.readouterr().out
    assert set(np.unique(tifffile.imread(job / "out.tif"))) <= {0, 3}
    record = json.loads((job / "out.json").read_text())
    assert key.digest in json.dumps(record)


def test_a_key_gets_its_suffix_where_it_has_none(job: Path) -> None:
    assert tune(job, "--save", str(job / "nuclei2")) == 0
    assert (job / "nuclei2.key").exists()


def test_a_seggpt_is_tuned_in_one_colouring_at_any_quality(job: Path) -> None:
    assert tune(job, "--quality", "best") == 0
    assert propagate(job, "--key", str(job / "cells.key"), "--quality", "best") == 0
    labels = ("--labels", str(job / "labels.tif"))
    assert propagate(job, *labels, "--tune", "0.3s", "--quality", "best", "--overwrite") == 0


def test_images_that_are_no_stack_are_painted_at_a_quality(job: Path) -> None:
    arguments = ["propagate", str(job / "images"), "--labels", str(job / "annotated"), "--out", str(job / "painted")]
    assert main([*arguments, "--model", "guess", "--quality", "fast", "--no-picture"]) == 0
    records = [json.loads(file.read_text()) for file in (job / "painted").glob("*.json")]
    assert records
    assert all(record["settings"]["quality"] == "fast" for record in records)


def test_annotated_slices_stay_as_they_are_with_a_key(job: Path) -> None:
    assert tune(job) == 0
    assert propagate(job, "--key", str(job / "cells.key"), "--labels", str(job / "labels.tif")) == 0
    np.testing.assert_array_equal(tifffile.imread(job / "out.tif")[0], tifffile.imread(job / "labels.tif")[0])


def test_tuning_on_the_way(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert propagate(job, "--labels", str(job / "labels.tif"), "--tune", "0.3s", "--json") == 0
    said = capsys.readouterr()
    assert "held-out part" in said.err
    assert json.loads(said.out)["complete"]
    settings = json.loads((job / "out.json").read_text())["settings"]
    assert settings["tune"] == 0.3
    assert settings["tuned"]["steps"] >= 1


def test_images_that_are_no_stack(job: Path) -> None:
    assert tune(job, "--one-by-one", image="images", labels="annotated") == 0
    arguments = ["propagate", str(job / "images"), "--model", str(job / "tiny.safetensors")]
    assert main([*arguments, "--out", str(job / "keyed"), "--key", str(job / "cells.key")]) == 0
    assert {"cell0.tif", "cell1.tif"} <= {file.name for file in (job / "keyed").iterdir()}
    tuned = [*arguments, "--out", str(job / "tuned"), "--labels", str(job / "annotated"), "--tune", "0.3s"]
    assert main(tuned) == 0
    np.testing.assert_array_equal(
        tifffile.imread(job / "tuned" / "cell1.tif"), tifffile.imread(job / "annotated" / "cell1.tif")
    )


def test_report_as_json(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(job, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == "tiny"
    assert report["after"] >= report["before"]


def test_control_c_keeps_the_best_so_far(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, steps = PromptTuner.step, []

    def interrupted(self: PromptTuner, share: float) -> float:
        steps.append(share)
        if len(steps) == 2:
            press_control_c()
        return step(self, share)

    monkeypatch.setattr(PromptTuner, "step", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert tune(job, "--seconds", "1h") == 0
    assert signal.getsignal(signal.SIGINT) is before
    assert "best so far is kept" in capsys.readouterr().err
    assert Key.load(job / "cells.key").learned.steps == 2


def test_control_c_twice_ends_it(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: PromptTuner, share: float) -> float:
        press_control_c()
        press_control_c()
        return share

    monkeypatch.setattr(PromptTuner, "step", interrupted)
    assert tune(job) == 1
    assert not (job / "cells.key").exists()


def test_the_key_of_another_model_is_refused(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(job) == 0
    capsys.readouterr()
    assert propagate(job, "--key", str(job / "cells.key"), model="other.safetensors") == 1
    said = capsys.readouterr().err
    assert "learned with the model tiny" in said
    assert "no use to other" in said
    assert main(["propagate", str(job / "image.tif"), "--out", str(job / "o.tif"), "--key", str(job / "cells.key"),
                 "--model", "guess"]) == 1  # fmt: skip
    assert "guess" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--labels"),
        (["--key", "KEY", "--tune", "10s"], 1, "leave one out"),
        (["--key", "KEY", "--kind", "instance"], 1, "leave out --kind instance"),
        (["--key", "KEY", "--annotated", "0"], 1, "--annotated says"),
        (["--key", "LABELS"], 1, "this is no key"),
        (["--key", "KEY", "--recolour", "2"], 1, "recolourings must be 1"),
        (["--labels", "LABELS", "--tune", "soon"], 2, "--tune must be a time"),
        (["--labels", "LABELS", "--tune", "1s", "--recolour", "2"], 1, "recolourings must be 1"),
    ],
)
def test_what_cannot_be_is_one_line(
    job: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    tune(job)
    capsys.readouterr()
    files = {"KEY": str(job / "cells.key"), "LABELS": str(job / "labels.tif")}
    assert propagate(job, *(files.get(a, a) for a in arguments)) == code
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("incontext-seg:")]
    assert len(said) == 1
    assert message in said[0]
    assert not (job / "out.tif").exists()


def test_keys_are_not_written_over_and_never_over_inputs(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (job / "cells.key").write_text("precious")
    assert tune(job) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (job / "cells.key").read_text() == "precious"
    assert tune(job, "--save", str(job / "image.tif"), "--overwrite") == 1
    assert "is an input" in capsys.readouterr().err
    assert tune(job, "--overwrite") == 0


def test_the_closed_form_cannot_be_tuned(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(job, "--model", "guess") == 1
    assert "guess cannot be tuned" in capsys.readouterr().err


def test_a_key_in_python(job: Path) -> None:
    assert tune(job) == 0
    predictor = load_predictor(job / "tiny.safetensors", key=job / "cells.key")
    key = Key.load(job / "cells.key")
    plane = key.context.examples[0].image
    assert predictor.bind(key.context)(plane).labels.shape == (60, 60)


def test_durations() -> None:
    assert [parse_duration(t, "--tune") for t in ("90", "60s", "1.5m", "1H")] == [90, 60, 90, 3600]
    for text in ("", "s", "0s", "-3", "nan", "inf", "1 day", "1d"):
        with pytest.raises(typer.BadParameter, match="such as 60s"):
            parse_duration(text, "--tune")
