"""What keeps the viewer alive and answering while a thread loads and runs a model."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBRARIES = ("libc10", "libtorch_cpu", "libtorch", "libtorch_python")  # in the order in which they need each other


@contextmanager
def small_collections() -> Iterator[None]:
    """Within the block, garbage collection does not look at what exists already.

    With napari and torch loaded a full collection stops every thread for a quarter of a second.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def load_torch() -> None:
    """Import torch, in a thread, without stopping the others, and leave them a processor.

    Python's lock must not be held for long: the viewer waits for it.
    """
    if "torch" not in sys.modules:
        _load_libraries()
    collecting = gc.isenabled()
    gc.disable()  # importing makes hundreds of thousands of objects, none of them garbage
    try:
        import torch
    finally:
        if collecting:
            gc.enable()
        gc.freeze()
    if not torch.cuda.is_available():
        # torch's optimisers import triton, whose LLVM ends the program where Mesa, which draws without a GPU, has
        # loaded one of its own; without CUDA nothing uses it, and torch goes on as if it were not installed
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))


def _load_libraries() -> None:
    """Let the system load torch's libraries: called through ctypes it does so without Python's lock, unlike import."""
    spec = importlib.util.find_spec("torch")
    if os.name != "posix" or spec is None or spec.origin is None:
        return
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    with contextlib.suppress(OSError, AttributeError):  # it is an optimisation: import loads what is missing
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.restype, dlopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_int]
        for name in _LIBRARIES:
            library = Path(spec.origin).parent / "lib" / f"{name}{suffix}"
            if library.is_file():
                dlopen(os.fsencode(library), os.RTLD_LAZY | os.RTLD_LOCAL)
