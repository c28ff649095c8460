"""Memory: errors that say what to do, and freed memory that is used again."""

import subprocess
import sys

import pytest
import torch

from napari_incontext_seg.errors import ResourceError
from napari_incontext_seg.infer.memory import memory_errors

REPEATED = """
import resource, torch
from napari_incontext_seg.infer.memory import keep_freed_memory
assert keep_freed_memory()
def work():
    return [torch.ones(2_000_000) for _ in range(5)]
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be told")
def test_freed_memory_is_used_again_without_fetching_fresh_pages():
    faults = int(subprocess.run([sys.executable, "-c", REPEATED], capture_output=True, text=True, check=True).stdout)
    assert faults < 100  # 10,000 when each tensor's pages are fetched anew


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "not enough memory for a plane: close other programs"),
        (torch.OutOfMemoryError("CUDA out of memory"), "not enough GPU memory for a plane: run on the CPU"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), "not enough memory"),
        (ResourceError("the disk is full"), "the disk is full"),
    ],
)
def test_running_out_of_memory_is_told_in_words_that_help(error, message):
    with pytest.raises(ResourceError, match=message), memory_errors("a plane"):
        raise error


def test_other_errors_go_on_as_they_are():
    with pytest.raises(RuntimeError, match="shape mismatch"), memory_errors("a plane"):
        raise RuntimeError("shape mismatch")
