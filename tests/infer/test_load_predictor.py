"""From a model's name or file, and the quality asked for, to a predictor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from napari_incontext_seg.errors import ModelError
from napari_incontext_seg.infer.closed_form import GuessPredictor
from napari_incontext_seg.infer.micro import MicroPredictor
from napari_incontext_seg.infer.model_choice import ModelChoice
from napari_incontext_seg.infer.painting import SegGptPredictor
from napari_incontext_seg.infer.predictor import load_predictor
from napari_incontext_seg.model import MicroConfig, create_model
from napari_incontext_seg.model.checkpoint import save_model


@pytest.fixture
def seggpt(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(create_model("seggpt_tiny_test"), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.mark.parametrize(
    ("quality", "asked", "expected"),
    [("fast", None, 1), ("balanced", None, 1), ("best", None, 4), ("best", 2, 2), ("fast", 3, 3)],
)
def test_a_seggpt_of_the_best_quality_averages_recolourings(
    seggpt: Path, quality: str, asked: int | None, expected: int
) -> None:
    predictor = load_predictor(seggpt, quality=quality, recolourings=asked)  # type: ignore[arg-type]
    assert isinstance(predictor, SegGptPredictor)
    assert predictor.recolourings == expected


def test_the_closed_forms_take_the_quality_themselves(tmp_path: Path) -> None:
    save_model(create_model(MicroConfig(channels=(8,), width=16, depth=1, features=4)), tmp_path / "small.safetensors")
    micro, guess = (load_predictor(m, quality="fast") for m in (tmp_path / "small.safetensors", "guess"))
    assert isinstance(micro, MicroPredictor)
    assert isinstance(guess, GuessPredictor)
    assert micro.quality == guess.quality == "fast"
    assert (micro.name, len(micro.digest)) == ("small", 64)


def test_the_closed_forms_refuse_recolourings(tmp_path: Path) -> None:
    save_model(create_model(MicroConfig(channels=(8,), width=16, depth=1, features=4)), tmp_path / "small.safetensors")
    for model in (tmp_path / "small.safetensors", "guess"):
        with pytest.raises(ModelError, match=r"paints without colours: --recolour .* is for a SegGPT"):
            load_predictor(model, recolourings=3)
        load_predictor(model, recolourings=1)


def test_a_quality_that_does_not_exist_is_refused_whatever_the_model(seggpt: Path) -> None:
    for model in (seggpt, "guess"):
        with pytest.raises(ModelError, match="quality must be one of fast, balanced, best; got 'superb'"):
            load_predictor(model, quality="superb")  # type: ignore[arg-type]


def test_only_a_seggpt_that_was_asked_to_be_is_approximate(seggpt: Path) -> None:
    def asked(**settings: bool) -> SegGptPredictor:
        predictor = load_predictor(seggpt, **settings)  # type: ignore[arg-type]
        assert isinstance(predictor, SegGptPredictor)
        return predictor

    assert not asked().approximate
    assert asked(approximate=True).approximate
    chosen = ModelChoice(seggpt, approximate=True)()
    assert isinstance(chosen, SegGptPredictor)
    assert chosen.approximate
    for model in ("guess", "micro"):
        with pytest.raises(ModelError, match="--approximate"):
            load_predictor(model, approximate=True)
