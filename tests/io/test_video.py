"""Videos in: every frame by its number, in any order."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from napari_incontext_seg.cli.main import main
from napari_incontext_seg.errors import DegradedDataWarning, FileError, InputError
from napari_incontext_seg.io.reopening import address, reopen
from napari_incontext_seg.io.stacks import open_labels, open_stack
from napari_incontext_seg.io.video import VideoArray

av = pytest.importorskip("av")
FRAMES, HEIGHT, WIDTH = 40, 48, 64


def image(number: int) -> np.ndarray:
    """A frame that says its number: as the brightness of its left half, coarsely and finely; red on the right."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:, :20] = 40 + 20 * (number // 5)
    frame[:, 20:40] = 40 + 40 * (number % 5)
    frame[:, 40:, 0] = 200
    return frame


def number_of(frame: np.ndarray) -> int:
    coarse, fine = (frame[10:-10, k : k + 10].astype(float).mean() - 40 for k in (5, 25))
    return 5 * round(coarse / 20) + round(fine / 40)


def write(path: Path, codec: str, pixels: str = "yuv420p", rate: int = 25, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        stream.gop_size = 12
        for number in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image(number), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "3"}),  # frames are stored in another order than shown
        ("a.mp4", "mpeg4", {}),
        ("a.avi", "mpeg4", {"bf": "2"}),  # and the file does not say when each is shown
        ("a.avi", "mjpeg", {}),
        ("a.mkv", "libx264", {}),
    ],
)
def test_frames_are_found_in_any_order(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {codec}")
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    stack = open_stack(write(tmp_path / name, codec, pixels, **options))

    assert (stack.axes, stack.data.shape, stack.data.dtype) == ("tyxs", (FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    assert (stack.scale[0], stack.units[0]) == (pytest.approx(0.04), "second")
    order = [*range(FRAMES), 39, 0, 13, 13, 11, 12, 25, 24, 38, 3, *range(30, 20, -1)]
    assert [number_of(stack.read(position)) for position in order] == order
    red, green, _ = stack.read(7)[10:-10, 50:-4].reshape(-1, 3).mean(axis=0)
    assert red > 150
    assert green < 60


def test_grey_videos_have_no_colours(tmp_path: Path) -> None:
    stack = open_stack(write(tmp_path / "a.mkv", "ffv1", "gray"))
    assert (stack.axes, stack.data.shape) == ("tyx", (FRAMES, HEIGHT, WIDTH))
    assert number_of(stack.read(31)) == 31


def test_a_video_is_painted(tmp_path: Path) -> None:
    import tifffile

    video = write(tmp_path / "a.mp4", "mpeg4")
    tifffile.imwrite(tmp_path / "labels.tif", (image(0)[None, ..., 0] == 200).astype(np.uint8))
    line = ["propagate", str(video), "--labels", str(tmp_path / "labels.tif"), "--annotated", "0", "--range", "0:5"]
    assert main([*line, "--model", "guess", "--quality", "fast", "--out", str(tmp_path / "out.tif")]) == 0
    out = open_labels(tmp_path / "out.tif")
    assert (out.axes, out.grid, out.scale[0], out.units[0]) == ("tyx", (FRAMES,), pytest.approx(0.04), "second")
    assert (out.read(4)[4:-4, 44:-4, 0] == 1).all()


def test_other_processes_open_the_same_frames(tmp_path: Path) -> None:
    stack = open_stack(write(tmp_path / "a.mp4", "mpeg4"))
    again = reopen(address(stack, tmp_path / "spare.npy"))
    assert not (tmp_path / "spare.npy").exists()
    np.testing.assert_array_equal(again[17], stack.data[17])


def test_what_is_no_video_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write(tmp_path / "a.mp4", "mpeg4")
    with pytest.raises(InputError, match="save labels as TIFF"):
        open_labels(video)
    (tmp_path / "text.avi").write_text("hello")
    with pytest.raises(FileError, match="cannot be read as a video"):
        open_stack(tmp_path / "text.avi")
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {video.name}\n")  # leads to other files
    with pytest.raises(FileError, match="cannot be read as a video"):
        open_stack(tmp_path / "list.mp4")
    (tmp_path / "short.avi").write_bytes(write(tmp_path / "b.avi", "mpeg4").read_bytes()[:6000])
    with pytest.warns(DegradedDataWarning, match="is truncated: 2 of 40 frames"):
        open_stack(tmp_path / "short.avi")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(FileError, match=r'PyAV is missing: pip install "\.\[video\]"'):
        open_stack(video)


def test_frames_are_counted_where_the_file_does_not_say_when_they_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoArray, "_index", lambda _: (list(range(FRAMES)), []))
    stack = open_stack(write(tmp_path / "a.mp4", "mpeg4"))
    assert [number_of(stack.read(position)) for position in (3, 30, 2, 39)] == [3, 30, 2, 39]
