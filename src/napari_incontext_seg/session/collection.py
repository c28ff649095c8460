"""A collection without a toolkit: some images annotated, the others painted one by one into a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.stack import Stack
from ..core.types import Context, Example, Kind, Labels, Predictor, Segmentation
from ..errors import InputError
from ..infer.propagate import keep_given, segment_images
from ..io.label_folder import LabelFolder
from ..io.picture import Panel, contact_sheet, save_png
from .report import Report, provenance, spread


def collection_context(
    images: Sequence[Stack],
    annotations: Mapping[int, Any],
    kind: Kind,
    ignore_label: int | None = None,
    shared: Context | None = None,
) -> Context:
    """The examples of a collection: number of the image -> labels (Y, X); each image is normalised on its own.

    Those of ``shared``, from elsewhere, come first.
    """
    examples = [] if shared is None else list(shared.examples)
    for number in sorted(annotations):
        image = images[number]
        try:
            plane = image.normalized().plane(0)
            examples.append(Example.from_labels(plane, annotations[number], ignore_label, image.spacing))
        except InputError as error:
            raise InputError(f"labels of {image.name}: {error}") from error
    return Context(tuple(examples), kind, {} if shared is None else shared.class_names)


def run_to_folder(
    images: Sequence[Stack],
    annotations: Mapping[int, Any],
    predictor: Predictor,
    out: Path,
    *,
    kind: Kind = "semantic",
    ignore_label: int | None = None,
    context: Context | None = None,
    given: Mapping[int, Labels] | None = None,
    dtype: np.dtype[Any] | None = None,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    picture: Path | None = None,
    on_image: Callable[[], None] | None = None,
) -> Report:
    """Paint every image of a collection that is not annotated; write one label file an image.

    Parameters
    ----------
    images
        One plane each; sizes may differ.
    annotations
        Number of an image -> its labels (Y, X); these come out exactly as given. May be empty if there is a context.
    context
        More examples, from elsewhere.
    given
        Labels (Y, X) of images that come out as they are, without being shown to the model.
    out
        A folder.

    Other parameters are those of `session.job.run_to_file`; errors too.
    """
    started = time.perf_counter()
    num_shared = 0 if context is None else len(context.examples)
    context = collection_context(images, annotations, kind, ignore_label, context)
    report = Report(out, len(images), names={k: image.name for k, image in enumerate(images)}, unit="images")
    annotated = dict(zip(sorted(annotations), context.examples[num_shared:], strict=True))
    whole = {k: e.labels for k, e in annotated.items() if e.valid.all()}
    report.sparse = len(whole) < len(annotated)
    whole.update(given or {})
    known = {*annotated, *whole}
    shown = {*sorted(known)[:4], *(k for k in spread(len(images), 12 - min(4, len(known))))}
    panels: dict[int, Labels] = {}
    record = provenance(predictor, context, settings, files)
    record["annotated_images"] = [images[k].name for k in sorted(known)]
    with LabelFolder(out, list(images), dtype=dtype, overwrite=overwrite, provenance=record) as folder:

        def keep(number: int, segmentation: Segmentation) -> None:
            if number in annotated:
                segmentation = keep_given(segmentation, annotated[number])
            if number in known:
                report.annotated.append(number)
            else:
                report.confidence[number] = segmentation.slice_confidence
            report.files.append(folder.write(number, segmentation.labels, segmentation.confidence))
            if number in shown:
                panels[number] = segmentation.labels
            if on_image is not None:
                on_image()

        for number, labels in sorted(whole.items()):
            keep(number, Segmentation(labels, np.ones(labels.shape, np.float32)))
        rest = [k for k in range(len(images)) if k not in whole]
        painted = segment_images((images[k] for k in rest), context, predictor)
        for number, (_, segmentation) in zip(rest, painted, strict=True):
            keep(number, segmentation)
    report.complete, report.seconds = True, time.perf_counter() - started
    if picture is not None:
        sheet = [
            Panel(images[k].normalized().plane(0), panels[k], report.title(k), annotated=k in known)
            for k in sorted(panels)
        ]
        save_png(contact_sheet(sheet), picture, overwrite=overwrite)
        report.files.append(picture)
    return report
