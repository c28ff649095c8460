"""The trainer: resumable to the bit, and at home on a bare machine."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_incontext_seg.errors import FileError, InputError, ModelError
from napari_incontext_seg.model import MicroConfig, SegGptConfig, create_model
from napari_incontext_seg.model.checkpoint import load_model
from napari_incontext_seg.train import state as state_module
from napari_incontext_seg.train.config import (
    BatchConfig,
    OptimizerConfig,
    ReportConfig,
    TrainConfig,
    read_config,
    read_table,
)
from napari_incontext_seg.train.loop import LOG, WEIGHTS, train
from napari_incontext_seg.train.optimizer import layer, learning_rate, make_optimizer
from napari_incontext_seg.train.state import Progress, find_states, load_state
from napari_incontext_seg.train.validation import dice

ROOT = Path(__file__).parents[2]
TINY = TrainConfig(
    seed=1,
    model=SegGptConfig(
        window=(64, 64),
        pretrain_window=64,
        patch_size=16,
        width=16,
        depth=2,
        num_heads=2,
        merge_index=0,
        out_indices=(0, 1),
        decoder_width=4,
        drop_path_rate=0.2,
    ),
    batch=BatchConfig(size=2, pool=4, reuse=1, examples=(1, 2), lower_half=0.5, crop=0.5),
    optimizer=OptimizerConfig(steps=4, learning_rate=1e-2, average=0.5),
    report=ReportConfig(log_steps=1, save_steps=2, validation_episodes=2),
)
CPU = torch.device("cpu")


def quiet(line: str) -> None:
    """Print nothing."""


def restored(config: TrainConfig, folder: Path) -> list[torch.Tensor]:
    """All numbers in the state of a run."""
    network, average = create_model(config.model), create_model(config.model)
    optimizer = make_optimizer(network, config.optimizer)
    load_state(folder, network, average, optimizer)
    moments = [value for p in network.parameters() for value in optimizer.state[p].values()]
    return [*network.state_dict().values(), *average.state_dict().values(), *moments]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("finished")
    train(TINY, folder, CPU, say=quiet)
    return folder


# -- a run --------------------------------------------------------------------------------------------------------
def test_a_run_leaves_its_state_its_log_and_weights(finished: Path) -> None:
    assert [state.name for state in find_states(finished)] == ["state-0000004"]
    lines = [json.loads(line) for line in (finished / LOG).read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert all(line["loss"] > 0 for line in steps)
    assert set(lines[-1]) == {"step", "model"}
    assert load_model(finished / WEIGHTS).config == TINY.model


def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(finished: Path, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("step 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path, CPU, say=interrupt)
    assert [state.name for state in find_states(tmp_path)] == ["state-0000002"]
    assert train(TINY, tmp_path, CPU, resume=True, say=quiet).step == 4
    steps = [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 4]
    pairs = zip(restored(TINY, finished), restored(TINY, tmp_path), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_run_is_not_begun_over_another(finished: Path) -> None:
    with pytest.raises(FileError, match="add --resume"):
        train(TINY, finished, CPU, say=quiet)


def test_a_run_by_the_clock_ends_when_its_seconds_have_passed_in_all_pieces(tmp_path: Path) -> None:
    by_clock = replace(TINY, optimizer=OptimizerConfig(seconds=1e-3))
    first = train(by_clock, tmp_path, CPU, say=quiet)
    assert first.step == 1
    assert first.seconds > 1e-3
    assert train(by_clock, tmp_path, CPU, resume=True, say=quiet) == first


def test_a_run_that_is_asked_to_stop_is_saved_and_can_go_on(finished: Path, tmp_path: Path) -> None:
    rarely_saved = replace(TINY, report=replace(TINY.report, save_steps=100))
    assert train(rarely_saved, tmp_path, CPU, say=quiet, should_stop=iter([False, False, True]).__next__).step == 2
    assert [state.name for state in find_states(tmp_path)] == ["state-0000002"]
    assert train(rarely_saved, tmp_path, CPU, resume=True, say=quiet).step == 4
    pairs = zip(restored(TINY, finished), restored(TINY, tmp_path), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


# -- state --------------------------------------------------------------------------------------------------------
def copied(finished: Path, folder: Path) -> Path:
    """A copy of the state, to be harmed; returns its folder."""
    (source,) = find_states(finished)
    state = folder / source.name
    state.mkdir()
    for file in source.iterdir():
        (state / file.name).write_bytes(file.read_bytes())
    return state


def resume(folder: Path, config: TrainConfig = TINY) -> Progress:
    network = create_model(config.model)
    return load_state(folder, network, None, make_optimizer(network, config.optimizer))


def test_a_state_comes_in_parts_of_limited_size(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "PART", 10_000)
    train(replace(TINY, optimizer=replace(TINY.optimizer, steps=1)), tmp_path, CPU, say=quiet)
    (state,) = find_states(tmp_path)
    sizes = [part.stat().st_size for part in sorted(state.glob("part-*"))]
    assert len(sizes) > 2
    assert max(sizes) == 10_000
    assert resume(tmp_path).step == 1


@pytest.mark.parametrize("harm", ["truncate", "remove"])
def test_a_damaged_state_is_not_resumed(finished: Path, tmp_path: Path, harm: str) -> None:
    part = copied(finished, tmp_path) / "part-00"
    if harm == "truncate":
        part.write_bytes(part.read_bytes()[:-5])
    else:
        part.unlink()
    with pytest.raises(FileError, match="incomplete or changed"):
        resume(tmp_path)


def test_a_state_of_another_network_is_not_resumed(finished: Path, tmp_path: Path) -> None:
    copied(finished, tmp_path)
    with pytest.raises(FileError, match="of this config"):
        resume(tmp_path, replace(TINY, model=replace(TINY.model, width=32)))


def test_without_a_state_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="Leave out --resume"):
        train(TINY, tmp_path, CPU, resume=True, say=quiet)


def test_a_run_that_diverged_keeps_its_last_good_state(tmp_path: Path) -> None:
    wild = replace(TINY, optimizer=replace(TINY.optimizer, learning_rate=1e30, warmup=0.0))
    with pytest.raises(ModelError, match="diverged"):
        train(wild, tmp_path, CPU, say=quiet)
    assert not find_states(tmp_path)


# -- learning rate and figures of merit ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "at"),
    [
        (OptimizerConfig(steps=100, warmup=0.1), lambda share: Progress(step=int(100 * share))),
        (OptimizerConfig(seconds=50, warmup=0.1), lambda share: Progress(seconds=50 * share)),
    ],
)
def test_the_learning_rate_rises_and_then_falls_to_nothing(settings: OptimizerConfig, at) -> None:
    rates = [learning_rate(at(share), settings) / settings.learning_rate for share in (0, 0.05, 0.1, 0.55, 1)]
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0], abs=0.06)


def test_lower_layers_learn_more_slowly_and_tokens_do_not_decay() -> None:
    network = create_model(TINY.model)
    optimizer = make_optimizer(network, OptimizerConfig(steps=1, layer_decay=0.5))
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    scales = {name: group_of[id(p)]["scale"] for name, p in network.named_parameters()}
    assert scales["patch_embed.proj.weight"] == 0.125
    assert [scales[f"blocks.{n}.mlp.fc1.weight"] for n in (0, 1)] == [0.25, 0.5]
    assert scales["decoder_pred.0.weight"] == scales["norm.weight"] == 1
    assert (
        group_of[id(network.mask_token)]["weight_decay"]
        == 0
        < group_of[id(network.decoder_embed.weight)]["weight_decay"]
    )
    assert layer("pos_embed", 2) == 0


def test_dice_of_a_painting() -> None:
    colours = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0, 0], [1, 1, 1], [0, 0, 0]]])
    labels = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]]])
    painted = torch.stack([colours[0][[1, 0, 0, 0]].T[:, None], colours[1][[0, 0, 0, 0]].T[:, None]]) * 0.9
    # class 1: half of two pixels found; class 2: rightly nowhere; the second episode: rightly nothing
    assert dice(painted, labels, colours, torch.tensor([2, 1])).tolist() == pytest.approx([(2 / 3 + 1) / 2, 1])


# -- config -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.toml")), ids=lambda file: file.stem)
def test_the_configs_that_come_with_the_project_can_be_read(file: Path) -> None:
    config = read_config(file)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in create_model(config.model).parameters())
    assert 2 * parameters < 15 * 2**20  # bytes of float16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sead": 1}, "sead is not known; known are seed"),
        ({"batch": {"sise": 1}}, r"batch\.sise is not known"),
        ({"batch": 3}, "batch must be a table"),
        ({"batch": {"size": 2.5}}, r"batch\.size must be of type int; got 2\.5"),
        ({"compile": 1}, "compile must be of type bool"),
        ({"episodes": {"families": [1]}}, "must be a list of str"),
        ({"episodes": {"families": ["unicorns"]}}, "families must be some of"),
        ({"optimizer": {"steps": 5, "seconds": 5}}, "either steps or seconds"),
        ({"optimizer": {"learning_rate": 1e-3}}, "either steps or seconds"),
        ({"model": {"width": 30}}, "width 30 must be a multiple"),
        ({"model": {"window": [64, 96], "pretrain_window": 64}}, "square"),
        ({"batch": {"pool": 2, "size": 4}}, "pool must hold a batch"),
        ({"batch": {"crop": 2.0}}, "must be in"),
        ({"report": {"log_steps": 0}}, "must be positive"),
        ({"model": {"network": "unicorn"}}, "network must be one of seggpt, micro; got 'unicorn'"),
        ({"model": {"network": ["micro"]}}, "network must be one of seggpt, micro"),
        ({"model": {"network": "micro", "window": [64, 64]}}, r"model\.window is not known"),
        ({"model": {"network": "micro", "channels": [8, "8"]}}, r"model\.channels must be a list of int"),
        ({"model": {"network": "micro", "width": 18}}, "width must divide by 4"),
        ({"batch": {"scene": 64, "side": 65}}, "side must be 16 to scene"),
        ({"batch": {"jitter": math.nan}}, "jitter must be a number"),
        ({"optimizer": {"seconds": math.inf}}, "either steps or seconds"),
        ({"report": {"validate_seconds": math.nan}}, "must be positive"),
        ({"batch": {"scene": 48, "side": 48}}, "scene, which must be at least 64"),
    ],
)
def test_a_config_that_does_not_fit_says_why(content: dict[str, object], message: str) -> None:
    with pytest.raises((InputError, ModelError), match=message):
        read_table(TrainConfig, content)


def test_a_config_says_which_network_it_is_of() -> None:
    optimizer = {"steps": 1}
    micro = read_table(TrainConfig, {"model": {"network": "micro", "channels": [8, 16]}, "optimizer": optimizer})
    assert micro.model == MicroConfig(channels=(8, 16))
    assert micro.scene == micro.batch.scene
    named, unnamed = (
        read_table(TrainConfig, {"model": m, "optimizer": optimizer}) for m in ({"network": "seggpt"}, {})
    )
    assert named.model == unnamed.model == SegGptConfig()


def test_a_config_file_is_named_in_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    with pytest.raises(FileError, match=r"run\.toml"):
        read_config(file)
    file.write_text("seed = ")
    with pytest.raises(InputError, match=r"run\.toml is not a TOML file"):
        read_config(file)
    file.write_text("[model]\nwidth = 30")
    with pytest.raises(ModelError, match=r"run\.toml: width 30"):
        read_config(file)


# -- a bare machine -----------------------------------------------------------------------------------------------
# what the project needs elsewhere, but not PIL: timm itself may load it
ABSENT = ("scipy", "skimage", "sklearn", "tifffile", "imagecodecs", "zarr", "yaozarrs", "platformdirs", "rich")
ABSENT += ("transformers", "dask", "imageio", "napari", "qtpy")
BARE = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))  # None: cannot be imported
from napari_incontext_seg.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


MICRO = """
[model]
network = "micro"
channels = [8, 8]
width = 16
depth = 1
[batch]
size = 2
pool = 4
scene = 64
side = 32
[optimizer]
steps = 4
[report]
log_steps = 2
validation_episodes = 2
"""


@pytest.mark.parametrize("network", ["seggpt", "micro"])
def test_training_runs_on_a_bare_machine(tmp_path: Path, network: str) -> None:
    config = ROOT / "configs" / "tiny.toml"
    if network == "micro":
        config = tmp_path / "micro.toml"
        config.write_text(MICRO)
    command = [sys.executable, "-c", BARE, "train", str(config)]
    result = subprocess.run(
        [*command, "--out", str(tmp_path / "run"), "--device", "cpu"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "step 4  loss" in result.stdout
    assert (tmp_path / "run" / WEIGHTS).exists()
