"""Importing the package, or asking the command line for help, must be quick: nothing heavy is loaded."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "napari_incontext_seg"
HEAVY = ("torch", "timm", "transformers", "napari", "qtpy", "magicgui", "superqt", "PyQt5", "PyQt6", "PySide6")


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh Python holds after running ``code``."""
    report = "\nimport sys; print('\\n'.join(sorted({m.partition('.')[0] for m in sys.modules})))"
    result = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import napari_incontext_seg",
        "import napari_incontext_seg; napari_incontext_seg.__version__, dir(napari_incontext_seg)",
        "import napari_incontext_seg.cli.main",
        "import contextlib, io, napari_incontext_seg.cli.main as cli\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): cli.main(['--help'])",
    ],
    ids=["package", "version", "cli", "help"],
)
def test_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import napari_incontext_seg.model",
        "from napari_incontext_seg import load_predictor; load_predictor('guess')",
        "import numpy as np\n"
        "from napari_incontext_seg import Context, Example, load_predictor\n"
        "plane = np.random.default_rng(0).random((32, 32, 1), np.float32)\n"
        "load_predictor('auto').bind(Context((Example(plane, plane[..., 0] > 0.5),)))(plane)",
    ],
    ids=["model", "guess", "embedded"],
)
def test_only_a_seggpt_loads_timm(code: str) -> None:
    assert loaded_after(code).isdisjoint({"timm", "torchvision", "transformers"})


@pytest.mark.parametrize("module", ["preferences", "readers", "samples", "writers"])
def test_what_napari_may_import_at_its_start_loads_nothing_heavy(module: str) -> None:
    assert loaded_after(f"import napari_incontext_seg._napari.{module}").isdisjoint(HEAVY)


def test_opening_the_dock_loads_no_torch() -> None:
    pytest.importorskip("napari")
    code = "import os; os.environ['QT_QPA_PLATFORM'] = 'offscreen'; import napari_incontext_seg._napari.dock"
    assert loaded_after(code).isdisjoint({"torch", "timm", "transformers"})


def test_every_public_name_can_be_loaded() -> None:
    import napari_incontext_seg

    for name in napari_incontext_seg.__all__:
        assert getattr(napari_incontext_seg, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        napari_incontext_seg.no_such_name  # noqa: B018


def imported_packages(file: Path) -> set[str]:
    """Top-level names that a source file imports absolutely."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.split(r"[\[<>=;]", line)[0].strip().lower().replace("_", "-") for line in lines}
    of_module = packages_distributions()
    plugin_only = {"qtpy", "magicgui", "superqt"}  # napari brings them

    for file in SOURCE.rglob("*.py"):
        for module in imported_packages(file) - {"napari_incontext_seg"} - plugin_only:
            owners = {name.lower().replace("_", "-") for name in of_module.get(module, [module])}
            assert owners & declared, f"{file.relative_to(ROOT)} imports {module}, which pyproject.toml does not name"
