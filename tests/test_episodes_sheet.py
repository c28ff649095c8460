"""The contact sheet of `benchmarks/episodes_sheet.py`."""

import sys

import numpy as np
from PIL import Image
from test_quality_protocol import BENCHMARKS, write_set


def test_a_sheet_shows_synthetic_episodes_and_real_frames_with_their_labels(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import episodes_sheet

    write_set(tmp_path / "data" / "squares")
    out = tmp_path / "sheet.png"
    options = ["--family", "fluorescent_nuclei", "--count", "2", "--size", "64", "--columns", "1"]
    real = ["--data", str(tmp_path / "data"), "--sets", "squares"]
    monkeypatch.setattr(sys, "argv", ["episodes_sheet.py", "--out", str(out), *options, *real])
    episodes_sheet.main()
    picture = np.array(Image.open(out).convert("RGB")).reshape(3, -1, 4 * 64 + 16, 3)
    labels = picture[:, episodes_sheet.TITLE :, 65:129]
    shown = (labels == episodes_sheet.COLOURS[1]).all(-1).sum((1, 2))
    assert (shown[:2] > 0).all()
    assert shown[2] == 100  # the square, native size
