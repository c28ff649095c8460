import numpy as np

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.core.tracks import Tracks
from napari_incontext_seg.core.types import Context, Example, Segmentation
from napari_incontext_seg.core.words import counted, listed


def test_numbers_in_words():
    assert [counted(n, "slice") for n in (0, 1, 2)] == ["0 slices", "1 slice", "2 slices"]
    assert listed((0, 1, 5)) == "0, 1, 5"
    assert listed(range(20)) == "0, 1, 2, 3, 4, 5, 6, 7, ... (20 in all)"


def test_python_shows_the_nouns_in_a_line_each():
    example = Example(np.zeros((8, 9)), np.eye(8, 9, dtype=int) * 3)
    assert repr(example) == "<Example 8 x 9 x 1, labels 0, 3>"
    scribbled = Example(np.zeros((8, 9)), np.ones((8, 9)), np.arange(72).reshape(8, 9) < 18)
    assert repr(scribbled) == "<Example 8 x 9 x 1, labels 1, 25% annotated>"
    assert repr(Context((example,))) == "<Context of 1 example, semantic, labels 0, 3>"
    painted = Segmentation(np.eye(4, 5, dtype=int), np.ones((4, 5)))
    assert repr(painted) == "<Segmentation 4 x 5, labels 0, 1, confidence 1.00>"
    stack = Stack(np.zeros((3, 4, 5), np.uint16), "zyx", name="a.tif")
    assert repr(stack) == "<Stack 'a.tif' zyx 3 x 4 x 5 uint16>"
    assert repr(Tracks.measure(np.ones((2, 4, 4), int))) == "<Tracks tyx, 1 track in 2 frames, 2 objects>"
