"""Bad input gets a clear error, and nothing is lost: what a person may give that cannot be, and what is told then.

Labels that do not fit, slices that do not exist, and models and devices that are not known are in
``test_propagate_cli.py``; formats and damaged files in ``tests/io``.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

import napari_incontext_seg
from napari_incontext_seg.cli.main import main
from napari_incontext_seg.infer.closed_form import ClosedFormPredictor


@pytest.fixture
def job(tmp_path):
    """A stack, its labels, and the same as a folder of pictures."""
    noise = np.random.default_rng(0).integers(0, 20, (4, 24, 20))
    disc = (np.mgrid[:24, :20][0] - 10) ** 2 + (np.mgrid[:24, :20][1] - 9) ** 2 < 30
    image = (np.where(disc, 160, 60) + noise).astype(np.uint8)
    labels = np.zeros((4, 24, 20), np.uint8)
    labels[0] = disc
    save(tmp_path / "image.tif", image)
    save(tmp_path / "labels.tif", labels)
    for folder in ("pictures", "marks"):
        (tmp_path / folder).mkdir()
    for k in range(4):
        Image.fromarray(image[k]).save(tmp_path / "pictures" / f"p{k}.png")
    Image.fromarray(labels[0]).save(tmp_path / "marks" / "p0.png")
    return tmp_path


def save(path, array):
    tifffile.imwrite(path, array, photometric="minisblack")


def run(folder, *arguments, image="image.tif", labels="labels.tif", out="out.tif"):
    places = [str(folder / image), "--labels", str(folder / labels), "--out", str(folder / out)]
    return main(["propagate", *places, *arguments])


def said(capsys):
    """What stands on standard error, which is one line."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip() and not line.startswith("slices ")]
    assert len(lines) == 1, lines
    return lines[0]


def everything(folder):
    """Path -> content of all files."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what somebody made is never written over -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("image", "labels", "out"),
    [
        ("image.tif", "labels.tif", "image.tif"),
        ("image.tif", "labels.tif", "labels.tif"),
        ("pictures/p0.png", "marks/p0.png", "pictures/p0.tif"),  # its contact sheet would be p0.png
        ("pictures", "labels.tif", "pictures/p3.tif"),
        ("pictures", "marks", "pictures"),
        ("pictures", "marks/p0.png", "marks"),
    ],
)
def test_an_input_is_no_output_even_with_overwrite(job, capsys, image, labels, out):
    before = everything(job)
    assert run(job, "--overwrite", image=image, labels=labels, out=out) == 1
    assert "is an input" in said(capsys)
    assert everything(job) == before


def test_a_zarr_is_not_replaced_by_labels_of_an_image_inside_it(job, capsys):
    group = zarr.open_group(job / "all.zarr", mode="w")
    group.create_array("raw", data=tifffile.imread(job / "image.tif"))
    before = everything(job)
    assert run(job, "--overwrite", image="all.zarr/raw", out="all.zarr") == 1
    assert "is an input" in said(capsys)
    assert everything(job) == before


@pytest.mark.parametrize("existing", ["out.tif", "out_confidence.tif", "out.json", "out.png"])
def test_no_output_is_replaced_unasked(job, capsys, existing):
    (job / existing).write_text("precious")
    before = everything(job)
    assert run(job) == 1
    assert "--overwrite" in said(capsys)
    assert everything(job) == before


def test_a_folder_is_not_replaced_by_a_file(job, capsys):
    (job / "out.tif").mkdir()
    assert run(job, "--overwrite") == 1
    assert "is a folder" in said(capsys)


# -- places that cannot be written ------------------------------------------------------------------------------------
def test_a_folder_that_cannot_be_made(job, capsys):
    (job / "file").write_text("not a folder")
    assert run(job, out="file/out.tif") == 1
    assert "cannot be written" in said(capsys)


def test_a_folder_without_permission(job, capsys, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)  # root may write into folders that are locked
    before = everything(job)
    assert run(job) == 1
    assert "cannot be written: Permission denied" in said(capsys)
    assert everything(job) == before


def test_a_disk_that_fills_up_keeps_what_is_finished_and_says_where(job, capsys, monkeypatch):
    from napari_incontext_seg.io import labels

    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(labels, "write_tiff", no_space)
    assert run(job) == 1
    message = said(capsys)
    assert "the disk is full" in message
    kept = next(Path(word) for word in message.split() if word.endswith("labels"))
    np.testing.assert_array_equal(zarr.open_array(kept)[0], tifffile.imread(job / "labels.tif")[0])
    assert not (job / "out.tif").exists()


# -- cut short --------------------------------------------------------------------------------------------------------
def fail_at_third_plane(monkeypatch, error):
    """Let the predictor paint two planes and then raise."""
    bind, seen = ClosedFormPredictor.bind, []

    def bind_then_fail(self, context):
        segment = bind(self, context)

        def segment_or_fail(plane):
            if len(seen) == 2:
                raise error
            seen.append(plane)
            return segment(plane)

        return segment_or_fail

    monkeypatch.setattr(ClosedFormPredictor, "bind", bind_then_fail)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "not enough memory for slice 3 of 24 x 20 pixels"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (KeyboardInterrupt(), "incontext-seg: stopped."),
        (RuntimeError("a bug"), "unexpected RuntimeError (--debug shows where): a bug"),
    ],
)
def test_what_is_finished_is_kept_and_named(job, capsys, monkeypatch, error, message):
    fail_at_third_plane(monkeypatch, error)
    assert run(job) == 1
    line = said(capsys)
    assert message in line
    assert f"The finished slices (3) are in {job / 'out.tif'}." in line
    assert [bool(plane.any()) for plane in tifffile.imread(job / "out.tif")] == [True, True, True, False]
    record = json.loads((job / "out.json").read_text())
    assert (record["complete"], record["finished"]) == (False, [0, 1, 2])
    assert not [path for path in job.iterdir() if path.name.startswith(".")]


def test_of_a_collection_the_finished_images_are_kept_and_named(job, capsys, monkeypatch):
    fail_at_third_plane(monkeypatch, KeyboardInterrupt())
    assert run(job, image="pictures", labels="marks", out="painted") == 1
    assert f"The finished images (3) are in {job / 'painted'}." in capsys.readouterr().err
    assert sorted(path.name for path in (job / "painted").glob("*.png")) == ["p0.png", "p1.png", "p2.png"]
    assert not json.loads((job / "painted" / "provenance.json").read_text())["complete"]


def test_memory_that_runs_out_while_a_plane_is_read(job, capsys, monkeypatch):
    from napari_incontext_seg.core.stack import Stack

    def no_memory(self, position):
        raise MemoryError("Unable to allocate 9.31 GiB for an array")

    monkeypatch.setattr(Stack, "read", no_memory)
    assert run(job, "--annotated", "0") == 1
    assert "not enough memory" in said(capsys)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_a_real_control_c(job):
    image = np.random.default_rng(0).integers(0, 99, (200, 300, 300), np.uint8)
    save(job / "image.tif", image)
    save(job / "labels.tif", (image[:1] > 50).astype(np.uint8))
    command = [sys.executable, "-m", "napari_incontext_seg", "propagate", str(job / "image.tif"), "--annotated", "0"]
    command += ["--labels", str(job / "labels.tif"), "--out", str(job / "out.tif")]
    source = str(Path(napari_incontext_seg.__file__).parents[1])
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": source}
    ) as process:
        deadline = time.monotonic() + 60
        while len(list(job.glob(".out-*/spool/labels/c.*"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert f") are in {job / 'out.tif'}." in errors
    assert tifffile.imread(job / "out.tif")[2].any()


# -- images and annotations that are small, odd or empty --------------------------------------------------------------
@pytest.mark.parametrize("shape", [(3, 12, 1), (3, 1, 12), (3, 1, 1), (1, 12, 9)])
def test_thin_stacks_and_stacks_of_one_slice(job, shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    save(job / "image.tif", pixels)
    labels = (pixels > 100).astype(np.uint8)
    labels[0, 0, 0] = 1
    save(job / "labels.tif", labels)
    assert run(job, "--annotated", "0") == 0
    out = tifffile.imread(job / "out.tif").reshape(shape)
    np.testing.assert_array_equal(out[0], labels[0])


def test_one_picture_that_is_annotated_comes_out_as_given(job):
    assert run(job, image="pictures/p0.png", labels="marks/p0.png") == 0
    np.testing.assert_array_equal(tifffile.imread(job / "out.tif"), np.asarray(Image.open(job / "marks" / "p0.png")))


def test_slices_annotated_as_empty_are_told(job, capsys):
    assert run(job, "--annotated", "0,3") == 0
    assert "no label in slice 3" in said(capsys)


def test_an_ignore_label_below_zero(job):
    labels = tifffile.imread(job / "labels.tif").astype(np.int16)
    labels[0, :5] = -1
    save(job / "labels.tif", labels)
    assert run(job, "--ignore-label", "-1") == 0
    assert set(np.unique(tifffile.imread(job / "out.tif"))) == {0, 1}


@pytest.mark.filterwarnings("default")
def test_values_that_are_no_numbers_are_told_on_one_line(job, capsys):
    image = tifffile.imread(job / "image.tif").astype(np.float32)
    image[2, :3] = np.nan
    save(job / "image.tif", image)
    assert run(job) == 0
    assert said(capsys).startswith("incontext-seg: warning: image has NaN or infinite values")


# -- images one by one ------------------------------------------------------------------------------------------------
def test_what_is_for_stacks_is_refused_for_a_folder_rather_than_forgotten(job, capsys):
    assert run(job, "--range", "0:2", "--memory", "1", image="pictures", labels="marks", out="painted") == 1
    assert "--memory, --range would do nothing" in said(capsys)


def test_labels_matched_by_name_need_a_folder_as_output(job, capsys):
    assert run(job, image="pictures", labels="marks") == 1
    assert "give a folder as the output" in said(capsys)


def test_labels_of_no_image(job, capsys):
    assert run(job, image="pictures", out="painted") == 1
    assert "has the name of these labels: labels_0000" in said(capsys)


def test_labels_are_no_pictures(job, capsys):
    assert run(job, out="out.png") == 1
    assert "labels are written as .tif" in said(capsys)


# -- the command line itself ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["propagate", "image.tif"], "Missing option '--out'"),
        (["propagate", "a", "--labels", "b", "--out", "c", "--memory", "-1"], "'--memory'"),
        (["paint"], "No such command 'paint'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert main(arguments) == 2
    assert message in said(capsys)


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"napari-incontext-seg {napari_incontext_seg.__version__}"
