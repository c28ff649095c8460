"""Videos: a frame is decoded when it is asked for, found by seeking, and none is kept (PyAV)."""

from __future__ import annotations

import bisect
import threading
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.stack import Stack
from ..errors import DegradedDataWarning, FileError, InContextError, InputError
from .lazy import PagedArray
from .paths import stem

# neither lists of other files nor addresses, which FFmpeg would follow
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": "avi,mov,mp4,matroska,webm,mpeg,mpegts,mpegvideo,asf"}


class VideoArray(PagedArray):
    """The frames (T, Y, X, RGB) of a video, or (T, Y, X) of a grey one, in the order in which they are shown.

    The file is read through once, without decoding, to know how many frames there are and when each is shown. Threads
    may share it.

    Raises
    ------
    FileError
        The file cannot be read as a video, or PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        av = _av(path)
        try:
            self._container = av.open(str(path), options=_OPTIONS)
            weakref.finalize(self, self._container.close)
            if not self._container.streams.video:
                raise FileError(f"{path} holds no video.")
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
            self._times, self._keys = self._index()
            self._lock = threading.RLock()
            self._next = len(self._times)  # the frame that `_frames` gives next; this one it never gives
            self._frames: Iterator[Any] = iter(())
            self._last: tuple[int, NDArray[Any]] | None = None
            self._size: tuple[int, int] | None = None
            first = self._decoded(0)
        except InContextError:
            raise
        except Exception as error:  # FFmpeg's errors are of many kinds
            raise FileError(f"{path} cannot be read as a video: {error}. It may be truncated or damaged.") from error
        super().__init__((len(self._times), *first.shape), first.dtype, first.ndim, path)

    @property
    def seconds(self) -> float | None:
        """From one frame to the next; the mean where that varies."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return 1 / float(rate) if rate else None

    def read_page(self, number: int) -> NDArray[Any]:
        """Read one frame."""
        try:
            with self._lock:
                return self._decoded(number)
        except Exception as error:
            raise FileError(
                f"{self.path}: frame {number} of {self.num_pages} cannot be read ({error}). "
                "The file may be truncated or damaged."
            ) from error

    def _index(self) -> tuple[list[int], list[int]]:
        """When each frame is shown, in that order, and which of these times are those of key frames."""
        packets = [p for p in self._container.demux(self._stream) if p.size and not p.is_discard]
        if not packets:
            raise FileError(f"{self._container.name} holds no frame.")
        if len(packets) < self._stream.frames:
            told = f"{len(packets)} of {self._stream.frames} frames are there."
            name = Path(self._container.name).name
            warnings.warn(f"{name} is truncated: {told}", DegradedDataWarning, stacklevel=6)
        if any(packet.pts is None for packet in packets):  # frames can be counted only
            return list(range(len(packets))), []
        times = sorted({int(packet.pts) for packet in packets})
        return times, sorted(int(packet.pts) for packet in packets if packet.is_keyframe)

    def _decoded(self, number: int) -> NDArray[Any]:
        if self._last is None or self._last[0] != number:
            self._last = number, self._array(self._found(number))
        return self._last[1].copy()

    def _found(self, number: int) -> Any:
        """Go on to a frame, or seek the key frame before it; an earlier one, where the frame was not after that."""
        if not self._keys:
            return self._by_counting(number)
        wanted = self._times[number]
        key = bisect.bisect_right(self._keys, wanted) - 1
        near = self._next <= number and (key < 0 or self._times[self._next] > self._keys[key])
        starts = [None] if near else []
        for start in (*starts, *reversed(self._keys[: max(key, 0) + 1]), self._times[0]):
            if start is not None:
                self._seek(start)
            for frame in self._frames:
                if frame.pts is not None and frame.pts >= wanted:
                    break
            else:
                continue
            if frame.pts == wanted:
                self._next = number + 1
                return frame
        raise ValueError("it is not in the file")

    def _by_counting(self, number: int) -> Any:
        if self._next > number:
            self._seek(0)
            self._next = 0
        for frame in self._frames:
            self._next += 1
            if self._next > number:
                return frame
        self._next = len(self._times)
        raise ValueError("it is not in the file")

    def _seek(self, time: int) -> None:
        self._next = len(self._times)
        self._container.seek(time, stream=self._stream, backward=True)
        self._frames = self._container.decode(self._stream)

    def _array(self, frame: Any) -> NDArray[Any]:
        name = frame.format.name
        form = "rgb24" if not name.startswith("gray") else "gray" if name == "gray" else "gray16le"
        if self._size is None:
            self._size = frame.width, frame.height
        pixels = frame.reformat(*self._size, format=form).to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, getattr(frame, "rotation", 0) // 90))


def read_video(path: Path, *, labels: bool = False) -> Stack:
    """Open a video as a stack along ``t``: see `stacks.open_stack`.

    Raises
    ------
    InputError
        It is to be ``labels``.
    FileError
        It cannot be read.
    """
    if labels:
        raise InputError(f"{path.name} is a video, which keeps no exact values: save labels as TIFF, PNG or OME-Zarr.")
    data = VideoArray(path)
    axes, seconds = "tyxs" if len(data.shape) == 4 else "tyx", data.seconds
    rest = len(axes) - 1
    return Stack(
        data, axes, (seconds or 1.0, *[1.0] * rest), ("second" if seconds else "", *[""] * rest), name=stem(path)
    )


def _av(path: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise FileError(
            f'{path.name} is a video, and to read it PyAV is missing: pip install ".[video]" where this '
            "program was cloned, or save its frames as TIFF or PNG."
        ) from error
    av.logging.set_level(None)
    return av
