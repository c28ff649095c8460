"""What is installed: the manifest, its version, its dependencies, from a source tree, a source archive and a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
ROOT = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "dist", "site", "demo-output", "runs")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source without .git, as one gets from an archive of the repository."""
    copy = tmp_path_factory.mktemp("copy") / "tree"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "napari.yaml"):
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "src", copy / "src", symlinks=True, ignore=NOT_SOURCE)
    return copy


@pytest.fixture(scope="module")
def archives(tree: Path) -> tuple[Path, Path]:
    """The source archive of the tree, and the wheel built from it: what `python -m build` makes, offline."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tree / "dist"), str(tree)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return next((tree / "dist").glob("*.tar.gz")), next((tree / "dist").glob("*.whl"))


def test_manifest_is_found_in_the_installed_package() -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_distribution("napari-incontext-seg")
    assert manifest.display_name == "In-context segmentation"
    assert (ROOT / "napari.yaml").is_file()
    assert not (ROOT / "napari.yaml").is_symlink()


def test_manifest_reaches_source_archive_and_wheel(archives: tuple[Path, Path]) -> None:
    """The package holds a link to the manifest; the wheel, built from the source archive, must hold a file."""
    content = (ROOT / "napari.yaml").read_bytes()
    with tarfile.open(archives[0]) as archive:
        manifest = next(m for m in archive.getmembers() if m.name.count("/") == 1 and m.name.endswith("/napari.yaml"))
        assert manifest.isfile()
    with zipfile.ZipFile(archives[1]) as wheel:
        assert wheel.read("napari_incontext_seg/napari.yaml") == content
        assert wheel.getinfo("napari_incontext_seg/napari.yaml").external_attr >> 28 == 0o10, "not a regular file"
        assert b"icon: napari_incontext_seg._napari:icon.svg" in content
        assert wheel.read("napari_incontext_seg/_napari/icon.svg").startswith(b"<svg")


def test_npe2_finds_the_manifest_of_an_unpacked_wheel(archives: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("npe2")
    with zipfile.ZipFile(archives[1]) as wheel:
        wheel.extractall(tmp_path)
    validated = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "napari-incontext-seg"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert validated.returncode == 0, validated.stdout + validated.stderr


def test_wheel_holds_what_it_needs_and_asks_for_no_qt(tree: Path, archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[1]) as wheel:
        names = wheel.namelist()
        metadata = message_from_bytes(wheel.read(next(n for n in names if n.endswith("/METADATA"))))
    assert "napari_incontext_seg/py.typed" in names
    source = {p.relative_to(tree / "src").as_posix() for p in (tree / "src").rglob("*.py")}
    assert source <= set(names)
    base = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in base if re.match(r"(?i)pyqt|pyside|napari|qtpy", line)]
    assert set(metadata.get_all("Provides-Extra", [])) == {"all", "video", "foundation", "distributed"}
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Version"] == "0.1.0.dev0", "the fallback version of a tree without .git"


def test_sample_data_is_installed_with_its_licences(tree: Path, archives: tuple[Path, Path]) -> None:
    data = {p.relative_to(tree / "src").as_posix() for p in (tree / "src").rglob("sample_data/*/*")}
    with zipfile.ZipFile(archives[1]) as wheel:
        names = set(wheel.namelist())
    assert {name.rpartition("/")[2] for name in data} >= {"image.tif", "labels.tif", "LICENSE.txt"}
    assert data <= names


def test_runs_from_a_source_tree_that_was_never_installed(tree: Path) -> None:
    code = "import napari_incontext_seg as package; print(package.__version__, package.__file__)"
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],  # -S: no site-packages, hence no installed version to be found
        env={**os.environ, "PYTHONPATH": str(tree / "src")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    version, file = result.stdout.split()
    assert version == "0.1.0.dev0"
    assert Path(file).is_relative_to(tree)
