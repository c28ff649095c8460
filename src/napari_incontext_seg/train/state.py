"""The state of a training run on disk: complete or not there, resumable, in files that are easily carried.

A state is a folder ``state-STEP`` of ``part-00``, ``part-01``, ... (a safetensors file in pieces of at most 15 MiB) and
``state.json``. It is written beside its place and renamed; then older ones are deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import FileError
from ..model.registry import Network

PART = 15 * 2**20  # bytes


@dataclass(frozen=True)
class Progress:
    """How far a run is: steps done, and seconds they took."""

    step: int = 0
    seconds: float = 0.0


def save_state(
    folder: Path, progress: Progress, network: Network, average: Network | None, optimizer: torch.optim.Optimizer
) -> None:
    """Save a run. Weights are stored as they are, the average as float16, the optimiser's moments as bfloat16.

    What is stored with fewer bits is rounded in memory too, so that who resumes computes the same as who goes on. Both
    differ slightly from a run that never saved here.

    Raises
    ------
    FileError
        The folder cannot be written.
    """
    tensors = {f"weights.{name}": value for name, value in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for moment in ("exp_avg", "exp_avg_sq"):
            value = optimizer.state[parameter][moment]
            tensors[f"{moment}.{name}"] = _rounded(value, torch.bfloat16)
    if average is not None:
        tensors |= {f"average.{name}": _rounded(value, torch.float16) for name, value in average.state_dict().items()}
    content = safetensors.torch.save({name: value.cpu().contiguous() for name, value in tensors.items()})
    notes = {**asdict(progress), "sha256": hashlib.sha256(content).hexdigest()}
    target = folder / f"state-{progress.step:07d}"
    beside = folder / f".{target.name}.{os.getpid()}.tmp"
    try:
        beside.mkdir(parents=True)
        for number, start in enumerate(range(0, len(content), PART)):
            (beside / f"part-{number:02d}").write_bytes(content[start : start + PART])
        (beside / "state.json").write_text(json.dumps(notes))
        older = find_states(folder)
        shutil.rmtree(target, ignore_errors=True)
        beside.replace(target)
    except OSError as error:
        raise FileError(f"cannot write the state of training to {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for state in older:
        if state != target:
            shutil.rmtree(state, ignore_errors=True)


def find_states(folder: Path) -> list[Path]:
    """Return the folders of saved states, the newest last."""
    return sorted(folder.glob("state-*"))


def load_state(folder: Path, network: Network, average: Network | None, optimizer: torch.optim.Optimizer) -> Progress:
    """Put the newest state of ``folder`` into network, average and optimiser.

    Raises
    ------
    FileError
        There is none, or it is damaged or of another network.
    """
    states = find_states(folder)
    if not states:
        raise FileError(f"no state of training in {folder}: nothing to resume. Leave out --resume to begin.")
    state = states[-1]
    try:
        notes = json.loads((state / "state.json").read_text())
        content = b"".join(part.read_bytes() for part in sorted(state.glob("part-*")))
        progress = Progress(int(notes["step"]), float(notes["seconds"]))
        if hashlib.sha256(content).hexdigest() != notes["sha256"]:
            raise ValueError("its parts are incomplete or changed")
        tensors = safetensors.torch.load(content)
        _fill(tensors, progress.step, network, average, optimizer)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise FileError(f"cannot resume from {state}: {error}. Is it complete, and of this config?") from error
    return progress


def _fill(
    tensors: Mapping[str, Tensor],
    step: int,
    network: Network,
    average: Network | None,
    optimizer: torch.optim.Optimizer,
) -> None:
    for kind, model in (("weights", network), ("average", average)):
        if model is not None:
            model.load_state_dict({name: tensors[f"{kind}.{name}"] for name in model.state_dict()})
    fused = any(group.get("fused") for group in optimizer.param_groups)
    for name, parameter in network.named_parameters():
        moments = {m: tensors[f"{m}.{name}"].to(parameter) for m in ("exp_avg", "exp_avg_sq")}
        count = torch.tensor(float(step), device=parameter.device if fused else "cpu")
        optimizer.state[parameter] = {"step": count, **moments}


def _rounded(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``value`` with fewer bits; it keeps only those itself."""
    stored = value.to(dtype)
    value.copy_(stored)
    return stored
