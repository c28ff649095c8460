"""``incontext-seg track``: annotated planes of a time-lapse or z-stack in, objects with one id throughout out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..core.words import counted
from ..errors import InputError
from .options import (
    AnnotatedOption,
    AxesOption,
    ChannelsOption,
    DeviceOption,
    DirectionChoice,
    EnsembleOption,
    ExamplesOption,
    IgnoreOption,
    MemoryOption,
    ModelOption,
    QualityOption,
    open_given_labels,
    parse_numbers,
)
from .progress import progress_bar
from .propagate import model_choice
from .shown import show_stack

SHARED = "all objects have one number ({number}): each connected piece is taken for an object ({otherwise})"

if TYPE_CHECKING:
    from ..infer.track import Tracking
    from ..session.tracking import TrackingReport


def track(
    out: Annotated[
        Path,
        typer.Option(help="OUT.tif or OUT.zarr: labels, table, lineage; OUT.geff; a folder: Cell Tracking Challenge."),
    ],
    image: Annotated[
        Path | None, typer.Argument(help="Time-lapse, z-stack or both; may be left out with --masks.", metavar="IMAGE")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels of the annotated slices, one id an object: as for propagate.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Link these masks and paint nothing: one id an object in every slice.")
    ] = None,
    examples: ExamplesOption = None,
    annotated: AnnotatedOption = None,
    stitch: Annotated[
        bool | None,
        typer.Option("--stitch/--no-stitch", help="Masks: link along z first; default: where there is no t."),
    ] = None,
    by: Annotated[
        Literal["links", "colour"],
        typer.Option(help="links: find and link all objects; colour: follow up to 13 annotated ones by their looks."),
    ] = "links",
    memory: MemoryOption = 0,
    direction: Annotated[
        DirectionChoice, typer.Option(help="From each annotated slice; meet: from both sides of a gap, and compared.")
    ] = "both",
    divisions: Annotated[bool, typer.Option("--divisions/--no-divisions", help="Whether objects may divide.")] = True,
    max_distance: Annotated[
        float | None,
        typer.Option(min=0, help="How far an object may be from where it is expected; default: estimated."),
    ] = None,
    max_gap: Annotated[int, typer.Option(min=0, help="For how many frames an object may be missing.")] = 1,
    model: ModelOption = "auto",
    device: DeviceOption = "auto",
    ensemble: EnsembleOption = "feature",
    quality: QualityOption = "balanced",
    ignore_label: IgnoreOption = None,
    axes: AxesOption = None,
    channels: ChannelsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report as JSON on standard output.")] = False,
) -> None:
    """Find the objects of annotated slices in all others; follow them through time, with divisions, or through z."""
    from ..io.paths import input_files, label_inputs
    from ..io.storing import check_apart, check_free
    from ..session.tracking import tracking_files, write_tracking

    out = out.expanduser()
    check_what_is_given(image, labels, masks, examples)
    if masks is None:
        check_unused("--masks are followed", {"--stitch": stitch is not None})
    else:
        check_unused("objects are painted", {
            "--by": by != "links", "--memory": memory > 0, "--direction": direction != "both",
            "--annotated": annotated is not None, "--ignore-label": ignore_label is not None,
        })  # fmt: skip
    if image is None:
        check_unused("there is an IMAGE", {"--channels": channels is not None})
    inputs = [file for given in (image, examples) if given is not None for file in input_files(given)]
    inputs += [file for given in (labels, masks) if given is not None for file in label_inputs(given)]
    check_apart([*tracking_files(out), *(out.glob("mask*.tif") if out.is_dir() else ())], inputs)
    for file in tracking_files(out):
        check_free(file, overwrite)
    chosen = parse_numbers(channels, "--channels") if channels is not None else None
    settings: dict[str, Any] = {
        "max_distance": max_distance, "max_gap": max_gap, "divisions": divisions, "annotated": annotated,
        "ensemble": ensemble, "quality": quality, "recolour": None, "tune": None, "ignore_label": ignore_label,
        "axes": axes, "channels": chosen, "by": by, "memory": memory, "direction": direction,
    }  # fmt: skip
    if masks is not None:
        found, dtype, record = link_masks(masks, image, settings, stitch=stitch)
    else:
        assert image is not None
        found, dtype, record = paint_and_link(image, labels, examples, settings, model=model, device=device, at=out)
    with progress_bar(len(found), "slices written") as advance:
        report = write_tracking(
            found, out, dtype=dtype, overwrite=overwrite, provenance=record, on_frame=advance
        )  # fmt: skip
    tell(report, found, as_json)


def check_what_is_given(image: Path | None, labels: Path | None, masks: Path | None, examples: Path | None) -> None:
    """Raise InputError unless there are masks to link, or an image and something to paint by."""
    if masks is not None and (labels is not None or examples is not None):
        raise InputError("--masks are linked as they are: leave out --labels and --examples, which show what to paint.")
    if masks is None and (image is None or (labels is None and examples is None)):
        raise InputError(
            "give an IMAGE with --labels (or --examples) to paint and follow objects, or --masks to follow."
        )


def check_unused(where: str, given: Mapping[str, bool]) -> None:
    """Raise InputError if options are given that say nothing here."""
    named = [option for option, is_given in given.items() if is_given]
    if named:
        raise InputError(f"{', '.join(named)} would do nothing: it says something only where {where}. Leave it out.")


def paint_and_link(
    image: Path, labels: Path | None, examples: Path | None, settings: dict[str, Any], *, model: str, device: str,
    at: Path,
) -> tuple[Tracking, Any, dict[str, Any]]:  # fmt: skip
    """Paint the objects of every slice and link them."""
    from ..infer.track import TimeGrid
    from ..infer.track import track as start
    from ..io.stacks import open_stack
    from ..session.report import file_names, provenance

    stack = open_stack(image, axes=settings["axes"], channels=settings["channels"])
    grid = TimeGrid.of(stack)
    label_stack = open_given_labels(labels) if labels is not None else None
    shown = show_stack(
        stack, label_stack, examples, annotated=settings["annotated"],
        kind="semantic" if settings["by"] == "colour" else "instance",
        ignore_label=settings["ignore_label"],
    )  # fmt: skip
    predictor = model_choice(settings, model, device, None)()
    folder = next(f for f in at.absolute().parents if f.is_dir())
    annotations = shown.annotations
    if examples is None and settings["by"] == "links" and settings["ignore_label"] is None:
        annotations = apart(annotations)
    with progress_bar(len(stack) + grid.times, "slices") as advance:
        found = start(
            stack, annotations, predictor, max_distance=settings["max_distance"], max_gap=settings["max_gap"],
            divisions=settings["divisions"], by=settings["by"], memory=settings["memory"],
            direction=settings["direction"], ignore_label=shown.ignore_label, context=shown.context, folder=folder,
            on_plane=advance,
        )  # fmt: skip
    assert found.context is not None
    record = provenance(
        predictor, found.context, settings, file_names(image=image, labels=labels, examples=examples)
    )  # fmt: skip
    record["annotated_slices"] = sorted(found.annotated)
    return found, label_stack.data.dtype if label_stack is not None else None, record


def apart(annotations: Mapping[int, Any]) -> Mapping[int, Any]:
    """Label planes in which numbers tell objects apart: of a mask with one number, each connected piece is an object.

    Raises InputError if there are several such planes: nobody knows which piece is which.
    """
    from ..core.instances import components
    from ..core.labels import as_labels
    from ..core.pieces import one_number

    number = one_number(annotations.values())
    if number is None:
        return annotations
    if len(annotations) > 1:
        raise InputError(
            f"the annotated slices hold one number for all objects ({number}), but a number is a name: give the same "
            "object the same number in each, or annotate one slice only, where each piece is taken for an object."
        )
    print(SHARED.format(number=number, otherwise="--by colour: one object of many pieces"), file=sys.stderr)
    return {p: components(as_labels(plane)) for p, plane in annotations.items()}


def link_masks(
    masks: Path, image: Path | None, settings: dict[str, Any], *, stitch: bool | None
) -> tuple[Tracking, Any, dict[str, Any]]:
    """Link masks; ``axes`` are those of both."""
    from dataclasses import replace

    from ..core.pieces import one_number, pieces
    from ..infer.track import TimeGrid, track_labels
    from ..io.stacks import open_stack
    from ..session.report import file_names

    given = open_given_labels(masks)
    dtype = given.data.dtype
    seen = open_stack(image, axes=settings["axes"], channels=settings["channels"]) if image is not None else None
    if settings["axes"] is not None and seen is None:
        given = replace(given, axes=settings["axes"])
    elif seen is not None and len(seen) == len(given):
        given = replace(given.ordered_like(seen), axes="".join(a for a in seen.axes if a not in "cs"))
    number = None
    if stitch is not False:  # else numbers are said to be right, in z at least
        number = one_number(given.read(p)[..., 0] for p in given.sample_positions())
    if number is not None:
        print(SHARED.format(number=number, otherwise="--no-stitch: one object"), file=sys.stderr)
        given, stitch = pieces(given), True
    with progress_bar(TimeGrid.of(given).times, "frames") as advance:
        found = track_labels(
            given, seen, stitch=stitch, max_distance=settings["max_distance"], max_gap=settings["max_gap"],
            divisions=settings["divisions"], on_plane=advance,
        )  # fmt: skip
    return found, dtype, {"files": file_names(image=image, masks=masks), "settings": settings}


def unit_of(found: Tracking) -> str:
    """The unit of distances: that of the image, where its axes have one."""
    from ..core.units import ome_symbol

    units = {found.stack.units[found.stack.axes.index(axis)] for axis in "yxz" if axis in found.stack.axes}
    return ome_symbol(units.pop()) if len(units) == 1 and units != {""} else "pixels"


def tell(report: TrackingReport, found: Tracking, as_json: bool) -> None:
    """Print the report."""
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))
        return
    tracks, motion = report.tracks, found.linking.motion
    if not tracks.frame.any():
        slices = counted(report.frames, "slice")
        print(f"{counted(len(tracks.ids), '3-D object')} in {slices} (if it is a time-lapse, say --axes tyx)")
    else:
        gaps = sum(len(tracks.gaps(i)) for i in tracks.ids)
        counts = [(len(tracks.ids), "track"), (len(tracks.divisions), "division"), (gaps, "closed gap")]
        frames = counted(len(found.linking.objects), "frame")
        print(", ".join(counted(n, word) for n, word in counts), f"in {frames}")
        if motion is not None:
            sizes = f"{motion.diameter:.3g} across and were looked for within {motion.max_distance:.3g}"
            print(f"objects are {sizes} {unit_of(found)}")
    if report.least_sure:
        links = (f"track {i} into frame {t} ({c:.2f})" for i, t, c in report.least_sure)
        print("least sure links: " + ", ".join(links))
    for file in report.files:
        print(f"wrote {file}")
