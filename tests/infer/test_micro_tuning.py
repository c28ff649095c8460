"""Adapter tuning of the embedded network: on crops of the annotated slices, judged where it did not learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_incontext_seg.core.types import Context, Example
from napari_incontext_seg.errors import DegradedDataWarning, InputError, KeyFileError
from napari_incontext_seg.infer import micro_tuning
from napari_incontext_seg.infer.closed_form import class_ids
from napari_incontext_seg.infer.held_out import hold_out
from napari_incontext_seg.infer.key import Key, Learned
from napari_incontext_seg.infer.micro import MicroPredictor, in_colour
from napari_incontext_seg.infer.micro_tuning import IGNORED, NetworkTuner, TunedNetwork
from napari_incontext_seg.infer.tuning import apply_key, tune
from napari_incontext_seg.model.micro import Micro, MicroConfig

CONFIG = MicroConfig(channels=(8, 8), width=16, depth=1, num_heads=2, features=4)


def predictor(seed: int = 0) -> MicroPredictor:
    torch.manual_seed(seed)
    return MicroPredictor(Micro(CONFIG), name="tiny", digest=f"digest-{seed}")


@pytest.fixture
def context() -> Context:
    """Discs on noise, many enough that some can be held out; a corner is not annotated."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:96, :160]
    labels = ((((y % 24) - 12) ** 2 + ((x % 24) - 12) ** 2) < 40).astype(np.uint32)
    image = (0.3 + 0.4 * labels + 0.1 * random.standard_normal(labels.shape)).clip(0, 1).astype(np.float32)
    valid = np.ones(labels.shape, bool)
    valid[:10, :10] = False
    return Context((Example(image, labels, valid),))


def test_tuning_repeats_itself_and_leaves_the_model_as_it_was(context: Context) -> None:
    model = predictor()
    before = [p.clone() for p in model.network.parameters()]
    first, second = (tune(model, context, seconds=None, steps=2, seed=3) for _ in range(2))
    assert first.method == "adapter"
    assert first.learned.steps == 2
    assert first.learned.before is not None
    assert (first.learned.before, first.learned.after) == (second.learned.before, second.learned.after)
    assert all(torch.equal(p, b) for p, b in zip(model.network.parameters(), before, strict=True))


def test_the_same_steps_find_the_same_weights(context: Context) -> None:
    found = []
    for _ in range(2):
        tuner = NetworkTuner(predictor(), context, seed=3)
        for share in (0.0, 0.5):
            tuner.step(share)
        found.append(tuner.found())
    assert found[0].keys() == found[1].keys()
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_the_loss_falls(context: Context) -> None:
    tuner = NetworkTuner(predictor(), context)
    losses = [tuner.step(0.2) for _ in range(25)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_what_is_held_out_is_never_learned_from(context: Context) -> None:
    tuner = NetworkTuner(predictor(), context)
    tile = tuner.held_out[0]
    assert tile is not None
    (example,) = context.examples
    labels = example.labels.copy()
    labels[tile.area] = 1 - labels[tile.area]
    other = NetworkTuner(predictor(), Context((replace(example, labels=labels),)))
    other.held_out = tuner.held_out
    for mine, its in zip(tuner._learned_from(0), other._learned_from(0), strict=True):
        assert torch.equal(mine, its)
    assert (tuner._learned_from(0)[0][tile.area] == IGNORED).all()


def test_the_last_layer_begins_as_the_closed_form(context: Context) -> None:
    tuner = NetworkTuner(predictor(), context)
    image, classes, _ = tuner._slices[0]
    found = tuner.tuned.eval().logits(in_colour(image[None])).argmax(1)[0]
    known = classes != IGNORED
    assert (found == classes)[known].float().mean() > 0.8


def test_crops_are_turned_and_bent_but_image_and_classes_stay_together(context: Context) -> None:
    tuner = NetworkTuner(predictor(), context)
    crops = [tuner._crop(*tuner._slices[0]) for _ in range(4)]
    for image, classes in crops:
        assert image[:, classes == 1].mean() > image[:, classes == 0].mean() + 0.8  # standardised grey
    assert not torch.equal(crops[0][1], crops[1][1])


def test_a_key_of_kept_tuning_also_asks_the_tuned_network(context: Context, tmp_path: Path) -> None:
    model, tuned = predictor(), TunedNetwork(predictor(1).network, (0, 1))
    tensors = {name: value.half().numpy() for name, value in tuned.state_dict().items()}
    learned = replace(tune(model, context, seconds=None, steps=1).learned, before=0.1, after=0.2, kept=True)
    key = Key.load(Key("adapter", model.name, model.digest, context, tensors, learned).save(tmp_path / "key"))
    keyed = apply_key(model, key)
    rounded = {name: torch.tensor(values).float() for name, values in tensors.items()}
    tuned.load_state_dict(rounded)
    image = context.examples[0].image
    np.testing.assert_array_equal(
        keyed.bind(context).scores(image), model.with_opinion(tuned).bind(context).scores(image)
    )
    assert np.abs(keyed.bind(context).scores(image) - model.bind(context).scores(image)).max() > 0.01
    assert keyed.digest != model.digest


def test_the_tuned_network_is_never_as_sure_as_it_was_trained_to_be() -> None:
    tuned = TunedNetwork(predictor().network, (0, 1)).eval()
    images = torch.randn(1, 3, 32, 32)
    plain, asked = tuned.logits(images).softmax(1), tuned(images)
    assert torch.equal(plain.argmax(1), asked.argmax(1))
    assert (asked.amax(1) <= plain.amax(1)).all()
    torch.testing.assert_close(asked.sum(1), torch.ones(1, 32, 32))


def keyed(context: Context, *ids: int) -> MicroPredictor:
    """A predictor with a key that was tuned on ``context``, whose classes are ``ids``."""
    model = predictor()
    tensors = {
        name: value.half().numpy() for name, value in TunedNetwork(predictor(1).network, ids).state_dict().items()
    }
    learned = Learned(1.0, 1, 0.1, 0.2, True, 0)
    return apply_key(model, Key("adapter", model.name, model.digest, context, tensors, learned))  # type: ignore[return-value]


def test_a_key_paints_some_of_its_labels_but_none_that_it_does_not_know(context: Context) -> None:
    (example,) = context.examples
    three = replace(example, labels=example.labels + (example.labels > 0) * (np.mgrid[:96, :160][1] > 80))
    model = keyed(Context((three,)), 0, 1, 2)
    some = model.bind(context).scores(example.image)
    assert some.shape[2] == 2
    assert np.abs(some - predictor().bind(context).scores(example.image)).max() > 0.01
    with pytest.raises(InputError, match="does not know label 7"):
        model.bind(Context((replace(example, labels=example.labels * 7),)))
    with pytest.raises(InputError, match="of kind semantic; got instance"):
        model.bind(replace(context, kind="instance"))


def test_a_key_of_objects_that_lie_apart_is_not_for_objects_that_touch() -> None:
    y, x = np.mgrid[:96, :160]
    image = np.random.default_rng(0).random((96, 160), np.float32)
    tissue = (y // 16 * 10 + x // 16 + 1).astype(np.uint32)
    apart = np.where((y % 16 < 10) & (x % 16 < 10), tissue, 0).astype(np.uint32)
    contexts = [Context((Example(image, labels),), "instance") for labels in (apart, tissue)]
    model = keyed(contexts[0], *class_ids(contexts[0]))
    model.bind(contexts[0])
    with pytest.warns(DegradedDataWarning, match="tuned where objects lie apart, and is not asked"):
        painted = model.bind(contexts[1])(contexts[1].examples[0].image)
    np.testing.assert_array_equal(painted.labels, predictor().bind(contexts[1])(contexts[1].examples[0].image).labels)


@pytest.mark.parametrize("seed", [0, 14, 17, 21, 24, 38])
def test_tuning_can_be_judged_and_kept_from_a_few_strokes(context: Context, seed: int) -> None:
    """The part held out must leave every label, and hold some background where there is any."""
    (example,) = context.examples
    strokes = np.zeros(example.valid.shape, bool)
    for y, x in np.random.default_rng(seed).integers(0, (92, 146), (2, 2)):
        strokes[y : y + 3, x : x + 14] = True
    sparse = replace(example, valid=strokes)
    tile = hold_out(sparse, (48, 80))
    assert tile is not None
    rest = strokes.copy()
    rest[tile.area] = False
    assert set(np.unique(example.labels[rest])) == {0, 1}
    assert set(np.unique(example.labels[tile.area][strokes[tile.area]])) == {0, 1}


def test_crops_show_something_annotated(context: Context) -> None:
    (example,) = context.examples
    large = Example(np.tile(example.image[..., 0], (5, 4)), np.tile(example.labels, (5, 4)))
    valid = np.zeros(large.labels.shape, bool)
    valid[:60, :60] = True
    tuner = NetworkTuner(predictor(), Context((replace(large, valid=valid),)))
    seen = [any((classes != IGNORED).any() for _, classes in tuner._crops()) for _ in range(4)]
    assert sum(seen) == 4


def test_large_slices_are_judged_in_a_window(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_tuning, "WINDOW", 64)
    tuner = NetworkTuner(predictor(), context)
    (window,), (tile,) = tuner.windows, tuner.held_out
    assert tile is not None
    assert (window.y1 - window.y0, window.x1 - window.x0) == (64, 64)
    assert window.y0 <= tile.y0 < tile.y1 <= window.y1
    assert window.x0 <= tile.x0 < tile.x1 <= window.x1
    assert tuner._slices[0][1].shape == (96, 160)
    before = tuner.judge()
    tuner.step(0.0)
    assert before is not None
    assert before > 0.8
    assert tuner.judge() is not None


def test_tuning_that_was_not_kept_paints_as_before(context: Context) -> None:
    model = predictor()
    key = tune(model, context, seconds=None, steps=1)
    unkept = Key("adapter", model.name, model.digest, context, {}, replace(key.learned, kept=False))
    image = context.examples[0].image
    np.testing.assert_array_equal(
        apply_key(model, unkept).bind(context)(image).labels, model.bind(context)(image).labels
    )


def test_keys_that_do_not_fit_are_refused(context: Context) -> None:
    model = predictor()
    learned = replace(tune(model, context, seconds=None, steps=1).learned, before=0.1, after=0.2, kept=True)
    wrong = {"norm.weight": np.ones(3, np.float16)}
    with pytest.raises(KeyFileError, match="does not fit"):
        apply_key(model, Key("adapter", model.name, model.digest, context, wrong, learned))
    with pytest.raises(KeyFileError, match="learned with the model"):
        apply_key(predictor(1), Key("adapter", model.name, model.digest, context, {}, learned))


def test_what_is_tuned_already_is_not_tuned_again(context: Context) -> None:
    model = predictor()
    with pytest.raises(InputError, match="uses a key already"):
        tune(apply_key(model, tune(model, context, seconds=None, steps=1)), context)


def test_a_slice_smaller_than_a_crop_can_be_tuned_on() -> None:
    random = np.random.default_rng(1)
    labels = np.zeros((40, 50), np.uint32)
    labels[5:30:8, 5:45] = 2
    image = (0.5 * (labels > 0) + 0.2 * random.random(labels.shape)).astype(np.float32)
    tuner = NetworkTuner(predictor(), Context((Example(image, labels),)))
    assert np.isfinite(tuner.step(0.5))
