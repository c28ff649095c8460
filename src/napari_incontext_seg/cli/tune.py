"""``incontext-seg tune``: spend some seconds on the annotated slices, and keep what was learned as a key."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import (
    AnnotatedOption,
    AxesOption,
    ChannelsOption,
    DeviceOption,
    EnsembleOption,
    ExamplesOption,
    IgnoreOption,
    ImageArgument,
    KindChoice,
    KindOption,
    ModelOption,
    QualityOption,
    open_collection,
    open_given_labels,
    parse_duration,
    parse_numbers,
)
from .progress import progress_bar
from .shown import show_collection, show_stack
from .stopping import gentle_stop

if TYPE_CHECKING:
    from ..core.types import Context, Predictor
    from ..infer.key import Key


def tune(
    image: ImageArgument,
    save: Annotated[Path, typer.Option(help="File to keep what was learned in, for propagate --key.", metavar="KEY")],
    labels: Annotated[
        Path | None, typer.Option(help="Labels of the annotated slices: same shape as IMAGE; or one slice.")
    ] = None,
    examples: ExamplesOption = None,
    seconds: Annotated[
        str, typer.Option("--seconds", "--tune", help="How long, such as 60s or 2m. Ctrl-C keeps the best so far.")
    ] = "60s",
    one_by_one: Annotated[
        bool, typer.Option("--one-by-one", help="IMAGE is a folder of images that are no stack; labels carry names.")
    ] = False,
    annotated: AnnotatedOption = None,
    kind: KindOption = "auto",
    model: ModelOption = "auto",
    device: DeviceOption = "auto",
    ensemble: EnsembleOption = "feature",
    quality: QualityOption = "balanced",
    ignore_label: IgnoreOption = None,
    axes: AxesOption = None,
    channels: ChannelsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing key.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report as JSON on standard output.")] = False,
) -> None:
    """Tune a model on annotated slices, and save what it learned: a key, used instead of examples."""
    from ..infer.predictor import load_predictor
    from ..infer.propagate import propagate
    from ..io.paths import input_files
    from ..io.stacks import open_stack
    from ..io.storing import check_apart, check_free
    from ..session.collection import collection_context

    if labels is None and examples is None:
        raise typer.BadParameter("give the labels of annotated slices (--labels), or an example set (--examples).")
    duration, save = parse_duration(seconds, "--seconds"), save.expanduser()
    save = save if save.suffix else save.with_name(f"{save.name}.key")
    inputs = [given for given in (image, labels, examples) if given is not None]
    check_apart([save], [file for given in inputs for file in input_files(given)])
    check_free(save, overwrite)
    chosen = parse_numbers(channels, "--channels") if channels is not None else None
    if one_by_one and (annotated is not None or axes is not None):
        raise InputError("--annotated and --axes are for stacks, and say nothing with --one-by-one: leave them out.")
    predictor = load_predictor(model, device=device, ensemble=ensemble, recolourings=1, quality=quality)
    if one_by_one:
        images, annotations, _ = open_collection(image, labels, chosen)
        shown = show_collection(images, annotations, examples, kind=kind, ignore_label=ignore_label)
        context = collection_context(images, shown.annotations, shown.kind, shown.ignore_label, shown.context)
    else:
        stack = open_stack(image, axes=axes, channels=chosen)
        label_stack = open_given_labels(labels) if labels is not None else None
        shown = show_stack(stack, label_stack, examples, annotated=annotated, kind=kind, ignore_label=ignore_label)
        context = propagate(
            stack, shown.annotations, predictor, kind=shown.kind, ignore_label=shown.ignore_label, context=shown.context
        ).context
    key = tuned_key(predictor, context, duration)
    file = key.save(save, overwrite=overwrite)
    if as_json:
        learned = asdict(key.learned)
        print(json.dumps({"key": str(file), "model": key.model, "model_digest": key.model_digest, **learned}, indent=2))
    else:
        print(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB)")


def tuned(
    predictor: Predictor, context: Context, settings: dict[str, Any], kept: Path | None = None
) -> tuple[Predictor, Key | None]:
    """The predictor, tuned if the settings say so (``tune`` seconds), and its key; how that went is noted there.

    What an interrupted run has ``kept`` is not learned anew.
    """
    if settings["tune"] is None:
        return predictor, None
    from ..infer.tuning import apply_key

    if kept is None:
        key = tuned_key(predictor, context, settings["tune"])
    else:
        from ..infer.key import Key

        key = Key.load(kept)
    settings["tuned"] = asdict(key.learned)
    return apply_key(predictor, key), key


def tuned_key(predictor: Predictor, context: Context, seconds: float) -> Key:
    """Tune with a progress bar; Ctrl-C keeps the best so far."""
    from ..infer.tuning import tune as tune_model

    done, said = 0, list[str]()
    with gentle_stop() as should_stop, progress_bar(100, "tuning, %") as advance:

        def on_progress(share: float) -> None:
            nonlocal done
            while done < int(100 * share):
                advance()
                done += 1

        key = tune_model(
            predictor, context, seconds=seconds, say=said.append, on_progress=on_progress, should_stop=should_stop
        )
    print(*said, sep="\n", file=sys.stderr)
    return key


def read_key(
    key: Path | None, labels: Path | None, examples: Path | None, *, tune: str | None, kind: KindChoice,
    annotated: str | None,
) -> Key | None:  # fmt: skip
    """The key that propagation is to use, checked against the other options."""
    if key is None and labels is None and examples is None:
        raise typer.BadParameter(
            "give the labels of annotated slices (--labels), an example set (--examples), or a key (--key)."
        )
    if labels is None and annotated is not None:
        raise InputError("--annotated says what slices the --labels are of: give labels too, or leave it out.")
    if key is None:
        return None
    if tune is not None:
        raise InputError("--key is what an earlier tuning learned, so there is nothing to --tune: leave one out.")
    from ..infer.key import Key

    known = Key.load(key)
    if kind not in ("auto", known.kind):
        raise InputError(f"the key paints labels of kind {known.kind}: leave out --kind {kind}.")
    return known
