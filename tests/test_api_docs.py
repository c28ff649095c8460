"""The Python of the docs that stands alone, run as it stands."""

import re
from pathlib import Path

import numpy as np
import tifffile

API = Path(__file__).parents[1] / "docs" / "api.md"


def test_images_of_a_folder(tmp_path, monkeypatch):
    sizes = {"cell7": (40, 44), "cell8": (36, 50)}
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name, shape in sizes.items():
        labels = np.zeros(shape, np.uint8)
        labels[6:16, 5:15], labels[20:32, 22:34] = 1, 2
        noise = np.random.default_rng(0).integers(0, 20, shape, np.uint8)
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", (labels > 0) * np.uint8(180) + noise)
        tifffile.imwrite(tmp_path / "labels" / f"{name}.tif", labels)
    monkeypatch.chdir(tmp_path)
    [code] = [
        c for c in re.findall(r"```python\n(.*?)```", API.read_text(encoding="utf-8"), re.DOTALL) if "Context" in c
    ]
    exec(compile(code, str(API), "exec"), {})
    for name in sizes:
        found, truth = (tifffile.imread(tmp_path / f) for f in (f"painted_{name}.tif", f"labels/{name}.tif"))
        assert ((found > 0) == (truth > 0)).mean() > 0.95
        assert set(np.unique(found)) == {0, 1, 2}
