"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import FileError, ModelError
from ..model.checkpoint import load_model, save_model
from ..model.losses import masked_smooth_l1
from ..model.micro import Micro
from ..model.precision import without_subnormals
from ..model.registry import Network, create_model
from ..model.seggpt import SegGpt
from .batch import Batch, canvases, make_batch, pixels
from .config import TrainConfig
from .log import Log, Number, Say
from .micro import micro_loss
from .optimizer import fraction, learning_rate, make_optimizer, set_learning_rate
from .pool import Pool, make_pool, seed_of
from .state import Progress, find_states, load_state, save_state
from .validation import Validation

POOLS, ORDER, STEPS, HELD_OUT = range(4)  # what a seed is for
WEIGHTS, LOG = "weights.safetensors", "log.jsonl"


class Run:
    """A training run in memory. Its randomness follows from seed and step alone, so that nothing of it is saved."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.progress = Progress()
        torch.manual_seed(config.seed)
        self.network = create_model(config.model).to(device).train()
        self.average = deepcopy(self.network).eval() if config.optimizer.average else None
        self.optimizer = make_optimizer(self.network, config.optimizer)
        self._pool: tuple[int, Pool, Tensor] | None = None
        if device.type == "cuda" and config.compile:
            from torch._dynamo import config as compiler  # slow to import

            compiler.recompile_limit = 64  # with drop path each block is compiled on its own
            for block in self.network.blocks:
                block.compile()

    @property
    def done(self) -> bool:
        """Whether all steps are made, or all seconds passed."""
        settings = self.config.optimizer
        if settings.steps:
            return self.progress.step >= settings.steps
        return fraction(self.progress, settings) >= 1

    @property
    def shipped(self) -> Network:
        """The network that is validated and stored."""
        return self.average or self.network

    def step(self) -> Tensor:
        """Make a step; return the loss."""
        config, number = self.config, self.progress.step
        torch.manual_seed(seed_of(config.seed, STEPS, number))  # for drop path
        pool, members, seed = self._members(number)
        set_learning_rate(self.optimizer, learning_rate(self.progress, config.optimizer))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            if isinstance(self.network, Micro):
                loss = micro_loss(self.network, pool, members, seed, config.batch)
            else:
                loss = batch_loss(self.network, make_batch(pool, members, seed, config.batch, self.network.config))
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.optimizer.clip)
        self.optimizer.step()
        if self.average is not None:
            weights: list[Tensor] = list(self.network.parameters())
            averages: list[Tensor] = list(self.average.parameters())
            with torch.no_grad():
                torch._foreach_lerp_(averages, weights, 1 - config.optimizer.average)
        self.progress = replace(self.progress, step=number + 1)
        return loss.detach()

    def validation(self) -> Validation:
        """Make the held-out episodes."""
        config = self.config
        seed = seed_of(config.seed, HELD_OUT)
        return Validation.of(self._made(seed, config.report.validation_episodes, config.batch.examples[0]))

    def begin_with(self, weights: Path) -> None:
        """Take over the weights of a file. Raises ModelError if they are those of another network."""
        loaded = load_model(weights)
        if loaded.config != self.config.model:
            raise ModelError(f"{weights} holds {loaded.config}, the config asks for {self.config.model}.")
        for network in (self.network, self.average):
            if network is not None:
                network.load_state_dict(loaded.network.state_dict())

    def save(self, folder: Path) -> None:
        """Save the state. Raises ModelError if training diverged: the last state remains."""
        if not all(parameter.isfinite().all() for parameter in self.network.parameters()):
            raise ModelError(f"training diverged before step {self.progress.step}: try half the learning rate.")
        save_state(folder, self.progress, self.network, self.average, self.optimizer)

    def _members(self, step: int) -> tuple[Pool, Tensor, int]:
        """The pool of a step, its members of that, and a seed."""
        settings = self.config.batch
        steps = max(1, settings.pool * settings.reuse // settings.size)  # before the next pool
        number, within = divmod(step, steps)
        if self._pool is None or self._pool[0] != number:
            self._pool = None  # its memory is for the next one
            seed = seed_of(self.config.seed, POOLS, number)
            examples = settings.examples[seed % len(settings.examples)]
            pool = self._made(seed, settings.pool, examples)
            generator = torch.Generator().manual_seed(seed_of(self.config.seed, ORDER, number))
            orders = [torch.randperm(settings.pool, generator=generator) for _ in range(settings.reuse)]
            self._pool = number, pool, torch.cat(orders).to(self.device)
        _, pool, order = self._pool
        members = order[within * settings.size :][: settings.size]
        return pool, members, seed_of(self.config.seed, STEPS, step)

    def _made(self, seed: int, count: int, examples: int) -> Pool:
        config = self.config
        return make_pool(count, config.scene, seed, self.device, examples, config.episodes)


def batch_loss(network: SegGpt, batch: Batch) -> Tensor:
    """The loss of what a SegGPT paints where targets are hidden."""
    images, targets = batch.images, batch.targets
    seg_type = torch.zeros(len(images), device=images.device)  # as a tensor: so all type tokens have gradients
    if batch.query_only:
        painted = network(images[:, -1], images[:, :-1], targets[:, :-1], ensemble="feature", seg_type=seg_type)
        target, weights = targets[:, -1], batch.weights[:, -1, 0]
    else:
        painted = network.paint_canvas(images, targets, batch.mask, seg_type=seg_type)
        target = canvases(targets)
        weights = canvases(batch.weights)[:, :, 0] * pixels(batch.mask, network.config.patch_size)
    return masked_smooth_l1(painted, target, weights)


def train(
    config: TrainConfig,
    folder: Path,
    device: torch.device,
    *,
    start: Path | None = None,
    resume: bool = False,
    seconds: float = math.inf,
    say: Say = print,
    should_stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train a network, or go on with it. ``folder`` gets the run's state, its log, and the weights as float16.

    Parameters
    ----------
    start
        Weights of the config's network to begin with, rather than with random ones.
    resume
        Go on with the state in ``folder``.
    seconds
        Stop after so many; the run can be resumed.
    say
        Gets each line for people.
    should_stop
        Asked after every step; once it says so, the run is saved and ends, and can be resumed.

    Raises
    ------
    FileError
        There is a state already, or none to resume, or nothing can be written.
    ModelError
        Training diverged; the weights to begin with are of another network.
    """
    started = time.monotonic()
    if not resume and find_states(folder):
        raise FileError(f"{folder} holds the state of a run: add --resume to go on with it, or choose another folder.")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    run = Run(config, device)
    if start is not None:
        run.begin_with(start)
    if resume:
        run.progress = load_state(folder, run.network, run.average, run.optimizer)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}.") from error
    parameters = sum(p.numel() for p in run.network.parameters())
    say(f"{parameters / 1e6:.2f} million parameters on {device}; from step {run.progress.step}")
    log = Log(folder / LOG, run.progress.step, say)
    ends = started + seconds
    without_subnormals(
        lambda interrupted: _loop(
            run, folder, log, started, lambda: interrupted() or should_stop() or time.monotonic() >= ends
        )
    )
    save_model(run.shipped, folder / WEIGHTS, half=True)
    say(f"{'finished' if run.done else 'stopped'} at step {run.progress.step}; weights in {folder / WEIGHTS}")
    return run.progress


def _loop(run: Run, folder: Path, log: Log, started: float, over: Callable[[], bool]) -> None:
    report, before = run.config.report, run.progress.seconds
    validation = run.validation()
    recent: list[Tensor] = []
    last_log = last_validation = time.monotonic()
    while not run.done and not over():
        recent.append(run.step())
        now, step = time.monotonic(), run.progress.step
        run.progress = Progress(step, before + now - started)
        if step % report.log_steps == 0:
            speed = len(recent) * run.config.batch.size / (now - last_log)
            log.write(**_facts(run, float(torch.stack(recent).mean()), speed))
            recent, last_log = [], now
        if step % report.save_steps == 0:
            run.save(folder)
        if now - last_validation > report.validate_seconds:
            log.write(step=step, model=validation.dice(run.shipped))
            last_validation = time.monotonic()
    if run.progress.step % report.save_steps:
        run.save(folder)
    log.write(step=run.progress.step, model=validation.dice(run.shipped))


def _facts(run: Run, loss: float, speed: float) -> dict[str, Number]:
    if not math.isfinite(loss):
        raise ModelError(f"training diverged before step {run.progress.step}: try half the learning rate.")
    return {
        "step": run.progress.step,
        "loss": loss,
        "episodes_per_second": speed,
        "learning_rate": learning_rate(run.progress, run.config.optimizer),
        "seconds": run.progress.seconds,
    }
