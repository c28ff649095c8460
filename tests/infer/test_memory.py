"""Running out of memory is told in words that help."""

import pytest
import torch

from napari_incontext_seg.errors import DegradedDataWarning, ResourceError
from napari_incontext_seg.infer.memory import Portion, memory_errors


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


def test_less_is_done_at_a_time_until_it_fits():
    tried = []

    def work(size):
        tried.append(size)
        if size > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size

    portion = Portion(16, "tiles")
    with pytest.warns(DegradedDataWarning, match="at most 8 tiles at a time"):
        assert portion.attempt(work) == 2
    assert tried == [16, 8, 4, 2]
    assert portion.attempt(work) == 2


def test_what_does_not_fit_at_all_is_raised_and_so_is_any_other_error():
    def work(error):
        def fail(_):
            raise error

        return fail

    with pytest.warns(DegradedDataWarning), pytest.raises(torch.OutOfMemoryError):
        Portion(8, "tiles", least=4).attempt(work(torch.OutOfMemoryError()))
    for error in (RuntimeError("shape mismatch"), ResourceError("the disk is full")):
        with pytest.raises(type(error)):
            Portion(8, "tiles").attempt(work(error))
