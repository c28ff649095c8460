"""``incontext-seg info``: versions, devices and models."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer

PACKAGES = ("torch", "timm", "numpy", "scikit-image", "zarr", "tifffile", "napari", "transformers", "dask")


def info(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show versions, devices and models: paste this into a bug report."""
    facts = collect()
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    print(f"napari-incontext-seg {facts['version']}  Python {facts['python']}  {facts['platform']}")
    print("packages  " + ", ".join(f"{k} {v or 'not installed'}" for k, v in facts["packages"].items()))
    print("devices   " + ", ".join(facts["devices"]))
    print("models    " + ", ".join(f"{name} ({state})" for name, state in facts["models"].items()))
    print(f"weights   {facts['weights_directory']}")


def collect() -> dict[str, Any]:
    """The facts as plain values."""
    from .. import __version__
    from ..infer.device import device_names
    from ..infer.predictor import model_names
    from ..model.weights import weights_directory

    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed(name) for name in PACKAGES},
        "devices": device_names(),
        "models": model_names(),
        "weights_directory": str(weights_directory()),
    }


def installed(package: str) -> str | None:
    """The version of an installed package, None if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
