"""What `benchmarks/` holds beside the protocol: the U-Net, the report in Markdown, and the pictures."""

import json
import sys
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import ThresholdPredictor
from PIL import Image
from test_quality_protocol import BENCHMARKS, write_set

from napari_incontext_seg.core.types import Context, Example
from napari_incontext_seg.model.config import find_config


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def unet(monkeypatch):
    """The U-Net's module, its crops small, its clock one second a step."""
    import _unet

    clock = count()
    monkeypatch.setattr(_unet, "time", SimpleNamespace(process_time=lambda: float(next(clock))))
    monkeypatch.setattr(_unet, "CROP", 32)
    monkeypatch.setattr(_unet, "THREADS", 1)  # what is so small only waits for others
    return _unet


def squares(shape=(70, 50), side=11, ids=(1, 2), bright=(0.4, 0.9)):
    """A plane with bright squares on noise, and their labels."""
    rng = np.random.default_rng(0)
    image, labels = 0.1 * rng.random(shape, np.float32), np.zeros(shape, np.uint32)
    for y in range(3, shape[0] - side, 2 * side):
        for x in range(3, shape[1] - side, 2 * side):
            which = (y + x) // (2 * side) % len(ids)
            labels[y : y + side, x : x + side] = ids[which]
            image[y : y + side, x : x + side] += bright[which]
    return image[..., None], labels


def test_the_unet_learns_classes_from_one_sparsely_annotated_example(unet):
    image, labels = squares(ids=(3, 7))
    valid = np.ones(labels.shape, bool)
    valid[:, 40:] = False
    state = torch.random.get_rng_state()
    segment = unet.UNetPredictor(seconds=40).bind(Context((Example(image, labels, valid),)))
    found = segment(image[::-1].copy())
    assert set(np.unique(found.labels)) == {0, 3, 7}
    assert (found.labels == labels[::-1]).mean() > 0.95
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_unet_paints_objects_and_tiles_a_large_plane(unet, monkeypatch):
    image, labels = squares()
    segment = unet.UNetPredictor(seconds=40).bind(Context((Example(image, labels),), "instance"))
    whole = segment(image).labels
    assert whole.max() == 6  # squares, each an object
    monkeypatch.setattr(unet, "TILE", 48)
    monkeypatch.setattr(unet, "HALO", 8)
    assert ((segment(image).labels > 0) == (whole > 0)).mean() > 0.97


def test_what_is_not_annotated_costs_the_unet_nothing(unet):
    scores, targets = torch.randn(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long)
    targets[:, 4:] = unet.IGNORED
    other = scores.clone()
    other[:, :, 4:] += 5
    balance = torch.ones(2)
    assert unet.loss(scores, targets, balance) == unet.loss(other, targets, balance)


def rows(**dice):
    """Rows of methods on sets, Dice as lists by method."""
    sets = ("drive_vessels", "acdc_cardiac_mri", "davis_camel")
    figures = {"kind": "stack", "seconds_per_plane": 0.5, "bind_seconds": 60.25, "peak_mb": 700}
    return [
        {"dataset": name, "method": method, "dice": d, **figures}
        for method, values in dice.items()
        for name, d in zip(sets, values, strict=True)
    ]


def test_wins_are_counted_against_the_forest_and_without_videos():
    from _report import wins

    won = wins(rows(rf=[0.5, 0.5, 0.9], model=[0.75, 0.25, 0.1]))
    assert won == {"model": {"better": 1, "of": 2, "mean": 0.0, "worst": -0.25, "worst_set": "acdc_cardiac_mri"}}
    assert wins(rows(model=[1, 1, 1])) == {}


def test_the_report_has_a_table_of_dice_and_of_seconds():
    from _report import markdown

    made = rows(rf=[0.5, 0.5, 0.9], model=[0.75, 0.25, 0.1])
    made[-1] |= {"dice": 0.0, "error": "ValueError: no"}
    text = markdown({"commit": "abcdef0123", "model": "micro", "checkpoint": "f" * 64, "rows": made})
    assert "| drive_vessels * | 0.500 | **0.750** |" in text
    assert "| acdc_cardiac_mri | **0.500** | 0.250 |" in text
    assert "| davis_camel | **0.900** | failed |" in text
    assert "| *stills (2)* | 0.500 | 0.500 |" in text
    assert "| drive_vessels * | 0.50 (60.2) |" in text
    assert "better than `rf` on 1 of 2, by +0.000 on average; worst difference -0.250 on acdc_cardiac_mri" in text
    assert "failed, so counted as 0: davis_camel (model): ValueError: no" in text


def test_all_methods_are_run_when_asked_and_one_that_fails_is_named(monkeypatch, tmp_path):
    import quality

    write_set(tmp_path / "data" / "set")
    monkeypatch.setattr(quality, "predictor", lambda method, *_: 1 / 0 if method == "tuned" else ThresholdPredictor())
    table = tmp_path / "table.md"
    monkeypatch.setattr(
        sys, "argv", ["quality.py", str(tmp_path / "data"), "--methods", "all", "--markdown", str(table)]
    )
    assert quality.main() == 1
    header = next(line for line in table.read_text().splitlines() if line.startswith("| set"))
    assert [cell.strip(" `") for cell in header.split("|")[2:-1]] == [*quality.METHODS]
    assert "set (tuned): ZeroDivisionError" in table.read_text()


class Inverted(ThresholdPredictor):
    """Wrong everywhere."""

    def bind(self, context):
        segment = super().bind(context)
        return lambda plane: segment(1 - plane)


def test_the_worst_frames_are_drawn_each_once(monkeypatch, tmp_path, capsys):
    import quality
    import worst_cases

    for name in ("a", "b"):
        write_set(tmp_path / "data" / name)
    monkeypatch.setattr(quality, "predictor", lambda name, *_: (Inverted if name == "model" else ThresholdPredictor)())
    out = tmp_path / "worst.png"
    monkeypatch.setattr(sys, "argv", ["worst_cases.py", str(tmp_path / "data"), "--out", str(out), "--count", "2"])
    worst_cases.main()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6  # three kinds, two sets
    assert len({line[32:68] for line in said}) == 6
    picture = Image.open(out)
    assert picture.width > 6 * 30


def test_a_curve_is_drawn_of_losses_and_held_out_dice(monkeypatch, tmp_path):
    import training_curve

    log, out = tmp_path / "log.jsonl", tmp_path / "curve.png"
    lines = [{"step": s, "loss": 1 / s, "guess_loss": 0.5, "seconds": 60.0 * s} for s in (10, 20, 30)]
    lines.insert(2, {"step": 25, "model": 0.75, "guess": 0.7})
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (_, dice) = training_curve.read(log).values()
    assert [(c.name, *c.minutes, *c.values) for c in dice] == [("model", 25, 0.75), ("guess", 25, 0.7)]
    monkeypatch.setattr(sys, "argv", ["training_curve.py", str(log), "--out", str(out)])
    training_curve.main()
    blue = (np.asarray(Image.open(out)) == training_curve.COLOURS["model"]).all(2)
    assert blue[: training_curve.SIZE[1]].any()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.61, 0.83), (0.7, 0.7), (0.0, 0.0), (3.0, 1440.0)])
def test_ticks_are_few_and_cover_the_values(low, high):
    from training_curve import round_numbers

    ticks = round_numbers(low, high)
    assert 2 <= len(ticks) <= 9
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


@pytest.mark.parametrize("num_examples", [1, 2])
def test_the_ways_of_painting_whose_speed_is_compared_paint_the_same(monkeypatch, num_examples):
    import speed

    small = replace(find_config("seggpt_tiny_test"), window=(32, 32), pretrain_window=32)
    monkeypatch.setattr(speed, "CONFIG", small)
    setting = speed.Setting("cpu", "float32", threads=1, batch=2, compiled=False)
    prompts = speed.random_prompts(num_examples, setting.batch)
    ours, theirs = speed.make_ours(setting), speed.make_transformers(setting)
    with torch.inference_mode():
        expected = theirs["first"](*prompts)
        painted = {way: ours[way](*prompts) for way in ("first", "next", "freeze", "frozen", "float32")}
    for way in ("first", "next", "float32"):
        assert (painted[way] - expected).abs().max() < 1e-4 * expected.std()
    assert 0 < (painted["frozen"] - expected).abs().max() < expected.std()
