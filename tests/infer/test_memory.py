"""Running out of memory is told in words that help."""

import pytest
import torch

from napari_incontext_seg.errors import ResourceError
from napari_incontext_seg.infer.memory import memory_errors


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "not enough memory for a plane: close other programs"),
        (torch.OutOfMemoryError("CUDA out of memory"), "not enough GPU memory for a plane: run on the CPU"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 byte"), "not enough memory"),
        (ResourceError("the disk is full"), "the disk is full"),
    ],
)
def test_running_out_of_memory_is_told_in_words_that_help(error, message):
    with pytest.raises(ResourceError, match=message), memory_errors("a plane"):
        raise error


def test_other_errors_go_on_as_they_are():
    with pytest.raises(RuntimeError, match="shape mismatch"), memory_errors("a plane"):
        raise RuntimeError("shape mismatch")
