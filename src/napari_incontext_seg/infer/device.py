"""The device that work runs on."""

from __future__ import annotations

import torch

from ..errors import DeviceError


def resolve_device(name: str = "auto") -> torch.device:
    """``auto`` is the GPU if there is one, else the CPU; ``cpu``, ``cuda``, ``cuda:1``, ``mps`` are taken as they are.

    Raises
    ------
    DeviceError
        An unknown name, or a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {name!r}: use auto, cpu, cuda or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"no CUDA device {name!r} on this machine ({torch.cuda.device_count()} found): use --device cpu."
        )
    if device.type == "mps" and not mps_available():
        raise DeviceError("no Apple GPU (mps) on this machine: use --device cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"device {name!r} is not supported: use auto, cpu, cuda or mps.")
    return device


def mps_available() -> bool:
    """Whether torch can use an Apple GPU here."""
    return torch.backends.mps.is_available()


def device_names() -> list[str]:
    """The devices of this machine, for people."""
    names = ["cpu"]
    names += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return names + (["mps"] if mps_available() else [])
