"""`tune`: spend some seconds on the annotated slices, so that a model paints the others better.

How a model is tuned is its predictor's own affair; here is what all ways have in common.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from ..core.types import Context, Predictor
from ..errors import InputError
from ..model.precision import Interrupted, without_subnormals
from .key import Key, Learned
from .memory import memory_errors

Found = TypeVar("Found", covariant=True)


def _ignore(_: object) -> None:
    pass


@dataclass
class Budget:
    """When a tuning ends, and whom it tells what it does.

    Parameters
    ----------
    seconds, steps
        Whichever is over first; None: no limit. With steps alone a tuning repeats itself exactly.
    seed
        Where random numbers begin.
    say
        Takes sentences for people.
    on_progress
        Takes the share that is done, 0 to 1.
    should_stop
        Asked after every step; once it says so, the best so far is kept.
    """

    seconds: float | None = 60.0
    steps: int | None = None
    seed: int = 0
    say: Callable[[str], None] = _ignore
    on_progress: Callable[[float], None] = _ignore
    should_stop: Callable[[], bool] | None = None
    _started: float = field(default_factory=lambda: time.perf_counter(), init=False)

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.seconds, self.steps) if limit is not None]
        if not limits or not all(limit > 0 for limit in limits):
            raise InputError(f"tuning needs some seconds or steps; got {self.seconds} s and {self.steps} steps.")

    @property
    def elapsed(self) -> float:
        """Seconds since the budget was made."""
        return time.perf_counter() - self._started

    @property
    def stopped(self) -> bool:
        """Whether somebody asked to stop."""
        return self.should_stop is not None and self.should_stop()

    def share(self, steps: int, reserve: float = 0.0) -> float:
        """How much is spent after ``steps``, 0 to 1, if another ``reserve`` seconds are to come."""
        in_time = (self.elapsed + reserve) / self.seconds if self.seconds is not None else 0.0
        return min(1.0, max(in_time, steps / self.steps if self.steps is not None else 0.0))

    def learned(self, steps: int, begun: float, reserve: float) -> float:
        """How much of the learning is over, 0 to 1, that began after ``begun`` s and leaves ``reserve`` s to judge."""
        seconds = self.seconds - begun - reserve if self.seconds is not None else math.inf
        in_time = (self.elapsed - begun) / seconds if seconds > 0 else 1.0
        return min(1.0, max(in_time, steps / self.steps if self.steps is not None else 0.0))


@runtime_checkable
class Tunable(Predictor, Protocol):
    """A predictor that can be tuned, and that can use what was learned."""

    def tuned(self, context: Context, budget: Budget) -> Key:
        """Learn from the examples until the budget is spent. Never worse, where that was held out, than untuned."""
        ...

    def with_key(self, key: Key) -> Predictor:
        """Return a predictor that uses a key. Raises KeyFileError if it is another model's."""
        ...


class Learner(Protocol[Found]):
    """Something that is learned step by step, and judged where it did not learn."""

    def step(self, share: float, /) -> float:
        """Take a step, ``share`` of the tuning being over; return the loss."""
        ...

    def judge(self) -> float | None:
        """Dice on what is held out; None if nothing is."""
        ...

    def found(self) -> Found:
        """A copy of what is learned so far."""
        ...


def learn(learner: Learner[Found], budget: Budget, looks: int) -> tuple[Found, Learned]:
    """Take steps until the budget is spent, and return the best that was found in about ``looks`` judgements."""
    return without_subnormals(partial(_learn, learner, budget, looks))


def _learn(learner: Learner[Found], budget: Budget, looks: int, interrupted: Interrupted) -> tuple[Found, Learned]:
    start = time.perf_counter()
    best, before = learner.found(), learner.judge()
    look, begun = time.perf_counter() - start, budget.elapsed
    after, steps, looked, reserve = before, 0, 0, 0.0
    over = before is None or budget.learned(0, begun, look) >= 1 or budget.stopped
    while not over:
        start = time.perf_counter()
        learner.step(budget.learned(steps, begun, look))
        steps += 1
        reserve = max(reserve, time.perf_counter() - start + look)  # for one more step, and to judge it
        budget.on_progress(budget.share(steps))
        over = budget.share(steps, reserve) >= 1 or budget.stopped or interrupted()
        if over or budget.share(steps) * looks >= looked + 1:
            looked = int(budget.share(steps) * looks)
            score = learner.judge()
            if score is not None and after is not None and score > after:
                best, after = learner.found(), score
    if not budget.stopped:
        budget.on_progress(1.0)
    kept = before is not None and after is not None and after > before
    return best, Learned(round(budget.elapsed, 3), steps, before, after, kept, budget.seed)


def tune(
    predictor: Predictor,
    context: Context,
    *,
    seconds: float | None = 60.0,
    steps: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = _ignore,
    on_progress: Callable[[float], None] = _ignore,
    should_stop: Callable[[], bool] | None = None,
) -> Key:
    """Tune a model on annotated slices.

    A part of them is held out: tuning is judged there, and what does not help is not kept (``key.learned`` tells).

    Parameters
    ----------
    predictor
        From `load_predictor`; any but ``guess``.
    context
        The annotated slices, such as ``propagate(...).context``.
    seconds, steps
        Whichever is over first; None: no limit. With steps alone a tuning repeats itself exactly.
    seed
        Where random numbers begin.
    say
        Takes sentences for people.
    on_progress
        Takes the share that is done, 0 to 1.
    should_stop
        Asked after every step; once it says so, the best so far is kept.

    Returns
    -------
    Key
        To be used with ``load_predictor(model, key=key)``, or `apply_key`.

    Raises
    ------
    InputError
        The predictor cannot be tuned; no seconds or steps; more labels than a key can hold.
    """
    if not isinstance(predictor, Tunable):
        raise InputError(
            f"{predictor.name} cannot be tuned: it has nothing that could be learned step by step. "
            "Choose another model, or leave tuning out."
        )
    budget = Budget(seconds, steps, seed, say, on_progress, should_stop)
    with memory_errors("tuning"):
        key = predictor.tuned(context, budget)
    if budget.stopped:
        say("tuning was stopped: the best so far is kept")
    say(str(key.learned))
    return key


def apply_key(predictor: Predictor, key: Key | str | Path) -> Predictor:
    """Return a predictor that uses what a tuning of it learned.

    Raises
    ------
    FileError, KeyFileError
        The file cannot be read, is no key, or is that of another model.
    """
    if not isinstance(key, Key):
        key = Key.load(key)
    key.check_model(predictor.name, predictor.digest)
    if not isinstance(predictor, Tunable):
        raise InputError(f"{predictor.name} uses no keys. Choose another model, or leave the key out.")
    return predictor.with_key(key)
