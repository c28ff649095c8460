"""In-context tuning of a tiny network, and of a stand-in whose outcomes are known."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_incontext_seg.core.tiling import Tile
from napari_incontext_seg.core.types import Context, Example, Segmentation
from napari_incontext_seg.errors import InputError, KeyFileError, ModelError
from napari_incontext_seg.infer.closed_form import GuessPredictor
from napari_incontext_seg.infer.held_out import hold_out
from napari_incontext_seg.infer.key import Key, Learned
from napari_incontext_seg.infer.painting import SegGptPredictor
from napari_incontext_seg.infer.prompt_tuning import PromptTuner, choose, frozen
from napari_incontext_seg.infer.queries import draw_query
from napari_incontext_seg.infer.tuning import Budget, apply_key, learn, tune
from napari_incontext_seg.model.config import SegGptConfig
from napari_incontext_seg.model.registry import create_model


def discs(seed: int = 0, side: int = 80, ids: tuple[int, ...] = (1, 1, 1, 2, 2, 2), spacing: Any = None) -> Example:
    """Discs on a dark ground, brighter the higher the id."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    image, labels = np.zeros((side, side), np.float32), np.zeros((side, side), np.uint32)
    for i in ids:
        y, x = random.integers(8, side - 8, 2)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < 80
        image[disc], labels[disc] = i / (max(ids) + 1), i
    return Example((image + random.random(image.shape, np.float32) * 0.1)[..., None], labels, None, spacing)


def tiny(seed: int = 0, **settings: Any) -> SegGptPredictor:
    """A network with random weights, large enough for the query to see much of the prompt."""
    torch.manual_seed(seed)
    network = create_model("seggpt_tiny_test")
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
    return SegGptPredictor(network, name="tiny", digest=f"{seed}" * 64, **settings)


def prompt_of(predictor: SegGptPredictor, context: Context, steps: int = 1) -> Key:
    """A key of a few steps whose prompt is used, whether it helps or not."""
    key = tune(predictor, context, seconds=None, steps=steps)
    return replace(key, learned=replace(key.learned, kept=True))


class PixelNetwork(nn.Module):
    """Gives the query back, brighter the brighter the prompt is: far too bright, until the prompt has learned."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SegGptConfig(
            window=(64, 64), width=32, depth=2, num_heads=2, merge_index=0, out_indices=(1,), pretrain_window=64
        )
        self.blocks = nn.ModuleList()

    def forward(self, query: Tensor, images: Tensor, targets: Tensor, **_: Any) -> Tensor:
        return query + 10 * (images.mean((1, 3, 4), keepdim=True)[:, 0] + 2.2)


def same(one: Segmentation, other: Segmentation) -> bool:
    return np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize("ensemble", ["feature", "spatial", "none"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_loss_falls_and_the_weights_stay(ensemble: Any, count: int) -> None:
    predictor = tiny(ensemble=ensemble)
    before = {name: value.clone() for name, value in predictor.network.state_dict().items()}
    tuner = PromptTuner(predictor, Context(tuple(discs(seed) for seed in range(count))))
    episodes = [tuner.draw() for _ in range(4)]
    with frozen(predictor.network):
        first = sum(tuner.loss(*episode).item() for episode in episodes)
        for _ in range(60):
            tuner.step(0)
        last = sum(tuner.loss(*episode).item() for episode in episodes)
    assert last < 0.998 * first  # untrained, it cannot be led far
    assert all(torch.equal(value, before[name]) for name, value in predictor.network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in predictor.network.parameters())


def test_computing_activations_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_incontext_seg.infer import prompt_tuning

    def images() -> Tensor:
        tuner = PromptTuner(tiny(), Context((discs(),)))
        with frozen(tuner.predictor.network):
            tuner.step(0)
        return tuner.images.detach()

    kept = images()
    monkeypatch.setattr(prompt_tuning, "LARGE", 0)
    assert torch.equal(images(), kept)


def test_tuning_repeats_itself_for_a_seed_and_steps() -> None:
    context = Context((discs(0), discs(1)))
    keys = [tune(tiny(), context, seconds=None, steps=4, seed=seed) for seed in (3, 3, 4)]
    arrays = [key.tensors["images"].tobytes() for key in keys]
    assert arrays[0] == arrays[1]
    assert [k.learned.after for k in keys[:2]] == [keys[0].learned.after] * 2
    assert [key.learned.steps for key in keys] == [4, 4, 4]


@pytest.mark.parametrize("kind", ["semantic", "instance"])
def test_tuned_is_never_worse_where_it_was_held_out(kind: Any) -> None:
    for seed in range(4):
        key = tune(tiny(seed), Context((discs(seed),), kind), seconds=None, steps=6, seed=seed)
        assert key.learned.before is not None
        assert key.learned.after is not None
        assert key.learned.after >= key.learned.before
        assert key.learned.kept == (key.learned.after > key.learned.before)


@pytest.mark.parametrize(("after", "kept"), [(0.901, True), (0.9, False), (0.85, False)])
def test_what_does_not_help_is_not_kept(after: float, kept: bool) -> None:
    class Learning:
        steps = 0

        def step(self, _: float) -> float:
            self.steps += 1
            return 0.0

        def judge(self) -> float:
            return after if self.steps else 0.9

        def found(self) -> int:
            return self.steps

    found, learned = learn(Learning(), Budget(seconds=None, steps=3), looks=1)
    assert (found, learned.kept, learned.after) == ((3, True, after) if kept else (0, False, 0.9))


def test_learning_begins_and_ends_with_its_share_however_long_judging_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now, shares = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Slow:
        def step(self, share: float) -> float:
            shares.append(share)
            now[0] += 0.1
            return 0.0

        def judge(self) -> float:
            now[0] += 20
            return 0.5

        def found(self) -> None:
            pass

    _, learned = learn(Slow(), Budget(seconds=60), looks=1)
    assert shares[0] == 0
    assert 0.98 < shares[-1] <= 1
    assert learned.steps == len(shares) == pytest.approx(200, abs=3)  # between the two judgements lie 20 s
    assert learned.seconds == pytest.approx(60, abs=0.2)


def test_where_judging_takes_all_the_time_nothing_is_learned_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Slow:
        def step(self, _: float) -> float:
            raise AssertionError("there is no time for a step")

        def judge(self) -> float:
            now[0] += 31
            return 0.5

        def found(self) -> None:
            pass

    _, learned = learn(Slow(), Budget(seconds=60), looks=1)
    assert (learned.steps, learned.kept) == (0, False)
    assert str(learned).startswith("no time was left to learn")


def test_tuning_helps_where_it_can() -> None:
    predictor = SegGptPredictor(PixelNetwork(), name="pixel", digest="0" * 64)  # type: ignore[arg-type]
    said: list[str] = []
    shares: list[float] = []
    context = Context((discs(ids=(5, 5, 5)),))
    key = tune(predictor, context, seconds=None, steps=400, say=said.append, on_progress=shares.append)
    assert key.learned.kept
    assert key.learned.before is not None
    assert key.learned.after is not None
    assert key.learned.after > key.learned.before + 0.2
    assert said == [str(key.learned)]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_key_that_was_not_kept_paints_as_the_untuned_model() -> None:
    predictor, context = tiny(), Context((discs(),))
    tuner = PromptTuner(predictor, context)
    key = tuner.key(tuner.found(), Learned(1.0, 5, 0.5, 0.5, kept=False))
    for plane in (discs(7).image, discs(7, side=160).image):
        untuned, keyed = predictor.bind(context)(plane), apply_key(predictor, key).bind(context)(plane)
        assert (untuned.labels == keyed.labels).mean() > 0.995  # but for the 16 bits of the key
        np.testing.assert_allclose(untuned.confidence, keyed.confidence, atol=0.02)


def test_prompts_show_every_label() -> None:
    plain, rare = discs(0, ids=(1, 1)), discs(1, ids=(1, 9))
    assert choose([plain] * 20, 8) == [0, 3, 5, 8, 11, 14, 16, 19]
    assert choose([plain] * 7 + [rare] + [plain] * 12, 8) == [0, 3, 5, 7, 8, 11, 14, 16]
    assert choose([plain, rare], 8) == [0, 1]


def test_a_saved_key_paints_the_same_with_and_without_the_examples(tmp_path: Path) -> None:
    predictor, context = tiny(), Context((discs(0), discs(1)))
    key = prompt_of(predictor, context, steps=3)
    plane = discs(9).image
    first = apply_key(predictor, key).bind(context)(plane)
    path = key.save(tmp_path / "cells.key")
    assert path.stat().st_size < 300_000
    again = apply_key(tiny(), path)
    assert same(first, again.bind(Key.load(path).context)(plane))
    assert same(first, again.bind(key.context.joined(*context.examples))(plane))  # shown once, not twice
    assert again.digest != predictor.digest
    assert key.digest in again.digest


def test_other_examples_join_those_of_the_key() -> None:
    predictor = tiny()
    keyed = apply_key(predictor, prompt_of(predictor, Context((discs(0),))))
    segmenter: Any = keyed.bind(Context((discs(5),)))
    assert segmenter._learned == (0, None)
    assert segmenter(discs(9).image).labels.shape == (80, 80)
    with pytest.raises(InputError, match=r"knows the labels \[1, 2\], and not \[9\]"):
        keyed.bind(Context((discs(5, ids=(1, 9)),)))
    with pytest.raises(InputError, match="kind semantic"):
        keyed.bind(Context((discs(5),), "instance"))


def test_planes_of_other_sizes_and_pixels_are_shown_at_the_scale_of_the_prompt() -> None:
    predictor = tiny()
    key = prompt_of(predictor, Context((discs(side=60, spacing=(1.0, 1.0)),)))
    keyed = apply_key(predictor, key)
    segmenter: Any = keyed.bind(key.context)
    view = segmenter._view((200, 30))
    assert view.plan.tile == (60, 30)
    assert view.canvas.size == (64, 32)
    from napari_incontext_seg.core.spacing import match_context

    finer: Any = keyed.bind(match_context(key.context, (0.5, 0.5)))
    assert finer._learned == (0,)
    assert finer._view((120, 120)).canvas.size == (64, 64)
    assert finer(discs(side=120).image).labels.shape == (120, 120)


def test_instances_of_any_number_can_be_tuned() -> None:
    labels = np.zeros((64, 64), np.uint32)
    for k in range(60):
        labels[k // 5 * 12 : k // 5 * 12 + 9, k % 5 * 12 : k % 5 * 12 + 9] = 1000 + k
    image = (labels > 0).astype(np.float32)[..., None]
    predictor, context = tiny(), Context((Example(image, labels),), "instance")
    key = prompt_of(predictor, context)
    assert apply_key(predictor, key).bind(context)(image).labels.shape == (64, 64)
    with pytest.raises(InputError, match=r"at most 13 different labels; got 30.*instance"):
        tune(predictor, Context((Example(image, labels),)), steps=1)


def test_nothing_is_learned_where_nothing_can_be_held_out() -> None:
    labels = np.zeros((80, 80), np.uint32)
    labels[3, 3] = 1
    key = tune(tiny(), Context((Example(discs().image, labels),)), seconds=None, steps=5)
    assert key.learned.steps == 0
    assert not key.learned.kept
    assert "nothing was changed" in str(key.learned)


def test_who_stops_keeps_the_best_so_far() -> None:
    steps: list[float] = []
    said: list[str] = []
    key = tune(
        tiny(), Context((discs(),)), seconds=None, steps=100, say=said.append, on_progress=steps.append,
        should_stop=lambda: len(steps) >= 3,
    )  # fmt: skip
    assert key.learned.steps == 3
    assert "best so far" in said[0]


def test_seconds_are_kept() -> None:
    key = tune(tiny(), Context((discs(),)), seconds=1)
    assert 0 < key.learned.seconds < 5
    assert key.learned.steps >= 1


def test_what_cannot_be_tuned_says_so() -> None:
    context = Context((discs(),))
    with pytest.raises(InputError, match="guess cannot be tuned"):
        tune(GuessPredictor(), context)
    with pytest.raises(InputError, match="some seconds or steps"):
        tune(tiny(), context, seconds=0)
    with pytest.raises(ModelError, match="recolourings must be 1"):
        tune(tiny(recolourings=2), context)
    key = tune(tiny(), context, seconds=None, steps=1)
    for other in (tiny(1), GuessPredictor()):
        with pytest.raises(KeyFileError, match="learned with the model tiny"):
            apply_key(other, key)
    with pytest.raises(InputError, match="uses a key already"):
        tune(apply_key(tiny(), key), context)


def test_a_key_that_does_not_fit_the_network_is_refused() -> None:
    predictor = tiny()
    key = tune(predictor, Context((discs(),)), seconds=None, steps=1)
    wrong = [
        {"method": "adapter"},
        {"palette": None},
        {"tensors": {**key.tensors, "images": np.zeros((1, 3, 32, 32), np.float16)}},
        {"tensors": {**key.tensors, "tile": np.zeros(2, np.float32)}},
        {"tensors": {"images": key.tensors["images"]}},
    ]
    for changes in wrong:
        with pytest.raises(KeyFileError, match="Tune it again"):
            apply_key(predictor, replace(key, **changes))  # type: ignore[arg-type]


def test_what_is_held_out_is_never_asked_about_and_hidden_in_the_prompt() -> None:
    predictor = tiny()
    tuner = PromptTuner(predictor, Context((discs(),)))
    part = tuner.held_out[0]
    assert part is not None
    start = tuner.targets.detach().clone()
    with frozen(predictor.network):
        for _ in range(10):
            tuner.step(0)
    changed = (tuner.targets.detach() - start).abs().amax((0, 1)).numpy() > 0
    scale = 64 / 80
    inside = changed[int(part.y0 * scale) + 1 : int(part.y1 * scale), int(part.x0 * scale) + 1 : int(part.x1 * scale)]
    assert changed.any()
    assert not inside.any()


def test_hold_out_takes_about_a_quarter_of_each_label() -> None:
    example = discs(2, side=200, ids=(1,) * 12 + (2,) * 12)
    part = hold_out(example, (200, 200))
    assert part is not None
    for i in (1, 2):
        share = (example.labels[part.area] == i).sum() / (example.labels == i).sum()
        assert 0.1 < share < 0.45
    assert hold_out(example, (20, 30)) is not None
    assert hold_out(Example(example.image, example.labels * 0), (200, 200)) is None


def test_queries_leave_out_what_is_held_out_and_what_is_not_annotated() -> None:
    image = np.linspace(0, 1, 100 * 100, dtype=np.float32).reshape(100, 100, 1)
    labels = np.ones((100, 100), np.uint32)
    labels[:, 50:] = 2
    valid = np.ones((100, 100), bool)
    valid[:50] = False
    example = Example(image, labels, valid)
    random = np.random.default_rng(0)
    for _ in range(20):
        query = draw_query(example, Tile(0, 100, 50, 100), (100, 100), (64, 64), random, partly=False)
        assert query.image.shape == (64, 64, 1)
        assert query.image.min() >= 0
        assert query.image.max() <= 1
        assert set(query.labels[query.weights > 0]) <= {1}
        assert (query.weights > 0).mean() < 0.5
        np.testing.assert_allclose(query.weights[query.weights > 0], 1)


def test_a_budget_needs_a_limit() -> None:
    with pytest.raises(InputError):
        Budget(None, None)
    assert Budget(None, 4).share(1) == 0.25
