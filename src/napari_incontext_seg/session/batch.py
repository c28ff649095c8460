"""A batch: many stacks or images painted alike, one result each; what fails does not keep the others waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..core.example_set import ExampleSet
from ..core.types import Kind, Predictor
from ..errors import FileError, InContextError, InputError
from ..infer.key import Key
from ..infer.model_choice import ModelChoice
from ..infer.propagate import Propagation, propagate
from ..io.example_sets import load_examples
from ..io.image_search import outputs_for
from ..io.labels import is_record, label_files, recorded_provenance
from ..io.paths import check_exists, stem
from ..io.provenance import SOFTWARE, provenance_record
from ..io.stacks import open_stack
from ..io.storing import check_apart
from ..io.unfinished import fingerprint, left
from .batch_report import BatchReport, Outcome, earlier_outcomes, summary_files
from .job import run_to_file
from .plan import NOT_ANNOTATED, split_examples
from .report import file_names, provenance
from .settings import Meeting, RunSettings, Selection
from .worker_process import Load, busy, loaded
from .workers import Workers

Earlier: TypeAlias = Literal["refuse", "replace", "skip"]
Job: TypeAlias = tuple[Path, Path]  # an image, and the labels to make of it
MADE_WITH = ("image", "model_digest", "context", "kind", "settings")  # of a result's provenance


@dataclass(frozen=True)
class BatchPlan:
    """How every file is painted: plain values, which a worker can be told.

    Parameters
    ----------
    examples
        File of an example set (``.incontext``); may be left out where the model has a key.
    load
        Loads the model.
    kind
        ``semantic`` or ``instance``; default: what the key or the example set says.
    memory, num_examples, select, along, direction, names
        As for `infer.propagate.propagate`.
    axes, channels
        As for `io.stacks.open_stack`.
    picture
        Write a contact sheet beside each result.
    earlier
        What to do with results that exist: ``refuse`` to begin, ``replace`` them, or ``skip`` what is finished and was
        made with the same model, examples and settings.
    """

    examples: Path | None = None
    load: Load = field(default_factory=ModelChoice)
    kind: Kind | None = None
    memory: int = 0
    num_examples: int | None = None
    select: Selection = "nearest"
    along: str | None = None
    direction: Meeting = "both"
    names: bool = False
    axes: str | None = None
    channels: tuple[int, ...] | None = None
    picture: bool = False
    earlier: Earlier = "refuse"

    def __post_init__(self) -> None:
        if self.examples is not None:  # workers may work in other folders
            object.__setattr__(self, "examples", Path(self.examples).expanduser().absolute())

    @classmethod
    def from_settings(cls, settings: RunSettings, examples: Path | None = None) -> BatchPlan:
        """Paint as a run in napari did; which slices that was about does not matter.

        Raises
        ------
        InputError
            The run tuned the model on the way.
        """
        if settings.tune_seconds is not None:
            raise InputError(
                "these settings tune the model first, and a batch has nothing to tune on: tune once "
                "(`incontext-seg tune`), and use the key."
            )
        choice = ModelChoice(
            settings.model, settings.device, settings.ensemble, quality=settings.quality, key=settings.key
        )  # fmt: skip
        return cls(
            examples, choice, None if settings.key is not None else settings.kind, settings.memory,
            settings.num_examples, settings.select, settings.along, settings.direction, settings.names,
        )  # fmt: skip

    @property
    def key(self) -> Path | None:
        """The file of the key that the model has."""
        return self.load.key if isinstance(self.load, ModelChoice) else None

    def record(self) -> dict[str, Any]:
        """What a result's provenance says of it; model and examples are told there by their digests."""
        values = {name: value for name, value in asdict(self).items() if name not in _NOT_RECORDED}
        if isinstance(self.load, ModelChoice):
            values |= {
                name: getattr(self.load, name) for name in ("ensemble", "quality", "recolourings", "approximate")
            }
        return values


_NOT_RECORDED = ("examples", "load", "picture", "earlier")


def run_batch(
    inputs: Sequence[str | Path],
    out: str | Path,
    plan: BatchPlan,
    *,
    workers: Workers | None = None,
    on_file: Callable[[Outcome], None] | None = None,
) -> BatchReport:
    """Paint many stacks or images alike, and write one result each and a summary.

    Parameters
    ----------
    inputs
        Files, folders, patterns: see `io.image_search.outputs_for`.
    out
        Folder for the results, and for ``summary.csv`` and ``summary.json``, which keep what earlier batches have made
        of other files; made when missing.
    plan
        How each is painted.
    workers
        Others that paint, a file at a time each.
    on_file
        Called after each file.

    Raises
    ------
    FileError, InputError
        What `batch_jobs` raises.
    InContextError
        The model cannot be loaded.
    """
    started, out = time.perf_counter(), Path(out).expanduser().absolute()
    jobs = batch_jobs(inputs, out, plan)
    predictor, before = plan.load(), earlier_outcomes(out)
    outcomes: dict[Path, Outcome] = {}
    try:
        with closing(_painted(plan, jobs, predictor, workers)) as painted:
            for image, outcome in painted:
                if outcome.status == "skipped":  # what is known of it is kept
                    outcome = replace(before.get(outcome.image, outcome), out=outcome.out, status="skipped", reason="")
                outcomes[image] = outcome
                if on_file is not None:
                    on_file(outcome)
    except BaseException as error:
        error.add_note(f"{len(outcomes)} of {len(jobs)} files are painted; --resume goes on from there.")
        raise
    finally:
        ordered = [outcomes[image] for image in jobs if image in outcomes]
        report = BatchReport(out, ordered, time.perf_counter() - started)
        if ordered:
            named = {name for outcome in ordered for name in (outcome.image, outcome.out)}
            others = [o for o in before.values() if not {o.image, o.out} & named and Path(o.out).exists()]
            replace(report, outcomes=[*ordered, *others]).write()
    return report


def batch_jobs(inputs: Sequence[str | Path], out: Path, plan: BatchPlan) -> dict[Path, Path]:
    """Image -> its result, for all that a batch would paint; nothing is painted yet.

    Raises
    ------
    FileError, InputError
        There is nothing to paint, or no example or key to go by; an input would be written over; results exist and the
        plan says nothing of them; two would have the same name.
    """
    jobs = outputs_for([Path(given).expanduser() for given in inputs], out)
    _examples(plan)
    results = [file for target in jobs.values() for file in label_files(target)]
    pictures = [_picture(target) for target in jobs.values()] if plan.picture else []
    if len(set(pictures)) < len(pictures):
        twice = next(picture for picture in pictures if pictures.count(picture) > 1)
        raise InputError(f"two images would have the picture {twice}: rename one, or give them an output folder each.")
    check_apart(
        [*results, *pictures, *summary_files(out)], [*jobs, *(f for f in (plan.examples, plan.key) if f is not None)]
    )
    there = [file for file in (*jobs.values(), *pictures, *summary_files(out)) if file.exists()]
    if there and plan.earlier == "refuse":
        others = f", and {len(there) - 1} more" if len(there) > 1 else ""
        raise FileError(
            f"{there[0]} exists{others}: use --resume to skip what is finished, --overwrite to replace it, or another "
            "output folder."
        )
    return jobs


def _painted(
    plan: BatchPlan, jobs: Mapping[Path, Path], predictor: Predictor, workers: Workers | None
) -> Generator[tuple[Path, Outcome]]:
    if workers is None:
        for image, target in jobs.items():
            yield image, paint_file(plan, predictor, (image, target))
        return
    with closing(workers.each(partial(paint_at_work, plan, predictor.digest), jobs.items())) as results:
        for (image, target), found in results:
            if isinstance(found, InContextError):  # the worker could not even begin, or died over it
                found = Outcome(str(image), str(target), "failed", str(found))
            yield image, found


def paint_at_work(plan: BatchPlan, digest: str, job: Job) -> Outcome:
    """Paint a file inside a worker."""
    with busy:
        return paint_file(plan, loaded(plan.load, digest), job)


def paint_file(plan: BatchPlan, predictor: Predictor, job: Job) -> Outcome:
    """Paint a file; whatever fails is its outcome."""
    image, target = job
    try:
        run, unused = _planned(plan, predictor, image)
        settings, (examples, _) = plan.record(), _examples(plan)
        overwrite = plan.earlier == "replace"
        if plan.earlier == "skip":
            if _is_finished(target, run, settings):
                return Outcome(str(image), str(target), "skipped")
            overwrite = _is_ours(target)
        report = run_to_file(
            run, target, overwrite=overwrite, resume=plan.earlier != "replace", settings=settings,
            files=file_names(image=image, examples=plan.examples, key=plan.key), given=unused,
            class_names=examples.class_names, class_colors=examples.class_colors,
            picture=_picture(target) if plan.picture else None,
        )  # fmt: skip
        return Outcome.done(image, report)
    except InContextError as error:
        reason = str(error)
    except Exception as error:  # a fault of ours, or of a reader: the others are painted all the same
        reason = f"unexpected {type(error).__name__}: {error}"
    return Outcome(str(image), str(target), "failed", reason)


def _planned(plan: BatchPlan, predictor: Predictor, image: Path) -> tuple[Propagation, dict[int, Any]]:
    """The run over a file, and labels of slices that come out as they are, without being shown."""
    stack = open_stack(image, axes=plan.axes, channels=plan.channels).normalized()
    examples, key = _examples(plan)
    split = split_examples(examples, stack, key=key)
    run = propagate(
        stack, split.annotations, predictor, kind=plan.kind or (key.kind if key is not None else examples.kind),
        along=plan.along, memory=plan.memory, num_examples=plan.num_examples, select=plan.select,
        ignore_label=NOT_ANNOTATED, context=split.context, direction=plan.direction, names=plan.names,
    )  # fmt: skip
    unused = {p: example.labels for p, example in split.unused.items() if p not in split.annotations}
    return run.limited(lambda p: p not in unused), unused


def _is_finished(target: Path, run: Propagation, settings: Mapping[str, Any]) -> bool:
    """Whether a result is complete. Raises FileError if it is, but was made with something else."""
    found = recorded_provenance(target)
    if found is None or not found.get("complete"):
        return False
    expected = {**provenance(run.predictor, run.context, settings), "image": fingerprint(run.stack)}
    wanted = provenance_record(expected)
    different = [name for name in MADE_WITH if found.get(name) != wanted[name]]
    if found.get("versions", {}).get(SOFTWARE) != wanted["versions"][SOFTWARE]:
        different.append("version")
    if different:
        raise FileError(
            f"{target} was made with another {', '.join(different).replace('_', ' ')}: replace it (--overwrite), or "
            "choose another output folder."
        )
    return True


def _is_ours(target: Path) -> bool:
    """Whether a result, or a part of it, was made by a batch or a run before."""
    if target.exists():
        return recorded_provenance(target) is not None
    return is_record(label_files(target)[-1]) or next(left(target), None) is not None


def _picture(target: Path) -> Path:
    """The contact sheet of a result."""
    return target.with_name(f"{stem(target)}.png")


def _examples(plan: BatchPlan) -> tuple[ExampleSet, Key | None]:
    """What is shown. Raises InputError if that is nothing."""
    if plan.examples is None and plan.key is None:
        raise InputError("a batch needs something to go by: an example set (--examples), or a key (--key).")
    examples = ExampleSet() if plan.examples is None else _read_set(plan.examples, _changed(plan.examples))
    return examples, None if plan.key is None else _read_key(plan.key, _changed(plan.key))


def _changed(path: Path) -> int:
    check_exists(path)
    return path.stat().st_mtime_ns


@lru_cache(maxsize=1)
def _read_set(path: Path, changed: int) -> ExampleSet:
    return load_examples(path)


@lru_cache(maxsize=1)
def _read_key(path: Path, changed: int) -> Key:
    return Key.load(path)
