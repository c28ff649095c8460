"""``incontext-seg demo``: the main job on a real stack that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import DeviceOption, ModelOption, QualityOption
from .progress import progress_bar
from .propagate import finish


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("demo-output"),
    annotated: Annotated[int | None, typer.Option(help="Number of the annotated slice; default the middle.")] = None,
    model: ModelOption = "auto",
    device: DeviceOption = "auto",
    quality: QualityOption = "balanced",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output of an earlier demo.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report as JSON on standard output.")] = False,
) -> None:
    """Propagate one annotated slice of a bundled stack (light-sheet, cell walls of an ovule) to all others."""
    from ..infer.predictor import load_predictor
    from ..infer.propagate import propagate
    from ..io.samples import sample
    from ..session.job import run_to_file

    out = out.expanduser()
    ovule = sample("ovule")
    position = len(ovule.image) // 2 if annotated is None else annotated
    ovule.image.unravel(position)
    predictor = load_predictor(model, device=device, quality=quality)
    run = propagate(ovule.image, {position: ovule.labels.read(position)[..., 0]}, predictor)
    with progress_bar(len(run), "slices") as advance:
        report = run_to_file(
            run, out / "labels.tif", dtype=ovule.labels.data.dtype, overwrite=overwrite, picture=out / "labels.png",
            settings={"quality": quality}, truth=ovule.labels, on_step=lambda _: advance(),
        )  # fmt: skip
    finish(report, as_json)
