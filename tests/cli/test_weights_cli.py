"""``incontext-seg weights``: list, fetch, verify, path; here always with --from, so that nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from napari_incontext_seg.cli.weights import app, fetch
from napari_incontext_seg.errors import DownloadError, FileError, ModelError
from napari_incontext_seg.model.weights import path

NAME = "painter-vit-large"


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights file outside an empty cache, on a wide terminal."""
    monkeypatch.setenv("INCONTEXT_SEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    torch.save({"model": {}}, tmp_path / "stick.pth")
    return tmp_path / "stick.pth"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_shows_size_licence_and_that_nothing_is_verified() -> None:
    lines = run("list").splitlines()
    assert lines[0].split()[:3] == ["name", "size", "licence"]
    assert len([line for line in lines if "about 1.5 GB" in line and " no " in line and "unverified" in line]) == 3
    assert "Apache-2.0" in next(line for line in lines if line.startswith("seggpt-vit-large-transformers"))


def test_fetch_says_size_and_licence_first_and_then_where_it_lies(source: Path) -> None:
    lines = run("fetch", NAME, "--from", str(source)).splitlines()
    assert lines[0].startswith(f"{NAME}: about 1.5 GB, licence MIT")
    assert lines[1] == str(path(NAME))
    assert "unverified" in lines[2]
    assert run("path", NAME).strip() == str(path(NAME))
    line = next(line for line in run("list").splitlines() if line.startswith(NAME))
    assert " yes " in line
    assert lines[2].split()[1][:12] in line


def test_verify_tells_unchanged_from_verified(source: Path) -> None:
    assert "No weights" in run("verify")
    run("fetch", NAME, "--from", str(source))
    assert f"{NAME}: unchanged since" in run("verify")
    assert "unverified" in run("verify", NAME)
    path(NAME).write_bytes(b"something else")
    with pytest.raises(DownloadError, match="SHA-256"):
        run("verify")


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="weights fetch"):
        run("path", NAME)
    with pytest.raises(DownloadError, match="weights fetch"):
        run("verify", NAME)
    with pytest.raises(FileError, match="not a file"):
        run("fetch", NAME, "--from", str(tmp_path / "nothing"))
    for command in ("path", "verify", "fetch"):
        with pytest.raises(ModelError, match="painter-vit-large"):
            run(command, "paintr")


def test_no_bar_is_drawn_for_what_cannot_be_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError):
        fetch("paintr", None)
    assert capsys.readouterr().err.strip() == ""
