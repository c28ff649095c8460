"""One journey with the embedded model on real data, from opening the sample to restoring the work after a restart."""

import shlex
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_incontext_seg._napari.dock import InContextDock
from napari_incontext_seg._napari.samples import ovule
from napari_incontext_seg.core.metrics import dice
from napari_incontext_seg.io.stacks import open_labels

CROP = np.s_[8:22, 24:104, 24:104]  # of the sample, whose slice 15 is annotated
ANNOTATED = 15 - 8


@pytest.fixture
def files(tmp_path):
    """The sample's image as a file, and its annotated and true labels."""
    image, truth, labels = (layer[0][CROP] for layer in ovule())
    path = tmp_path / "ovule.tif"
    tifffile.imwrite(path, image, imagej=True, metadata={"axes": "ZYX"})
    return path, labels, truth


def open_dock(viewer, path, labels):
    viewer.open(str(path))
    viewer.add_labels(labels, name="walls")
    dock = InContextDock(viewer)
    viewer.window.add_dock_widget(dock, area="right")
    viewer.dims.set_current_step(0, ANNOTATED)
    return dock


def test_the_whole_journey(make_napari_viewer, qtbot, files):
    path, labels, truth = files
    viewer = make_napari_viewer()
    dock = open_dock(viewer, path, labels.copy())
    job, reviewing = dock.bench.job, dock.reviewing
    layer = dock.bench.planes.layer

    # add the annotated slice, run, cancel
    dock.examples.add.click()
    dock.propagate.quality.setCurrentIndex(dock.propagate.quality.findData("fast"))
    dock.propagate.run.click()
    qtbot.waitUntil(lambda: len(reviewing.confidence) >= 2, timeout=120_000)
    dock.propagate.cancel.click()
    with qtbot.waitSignal(job.ended, timeout=60_000):
        pass
    finished = len(reviewing.confidence)
    assert 2 <= finished < len(truth) - 1

    # run to the end
    dock.propagate.run.click()
    with qtbot.waitSignal(job.ended, timeout=120_000):
        pass
    others = [p for p in range(len(truth)) if p != ANNOTATED]
    assert sorted(reviewing.confidence) == others
    first = np.mean([dice(layer.data[p], truth[p], [1]) for p in others])
    assert first > 0.5
    np.testing.assert_array_equal(layer.data[ANNOTATED], labels[ANNOTATED])

    # go to the least sure slice, correct it by hand, verify its neighbour
    dock.review.next_unsure.click()
    least = dock.bench.position
    assert reviewing.confidence[least] == min(reviewing.confidence.values())
    wrong = np.nonzero(layer.data[least] != truth[least])
    layer.data_setitem((np.full(len(wrong[0]), least), *wrong), list(truth[least][wrong]))
    np.testing.assert_array_equal(layer.data[least], truth[least])
    neighbour = least + 1 if least + 1 < len(truth) and least + 1 != ANNOTATED else least - 1
    dock.bench.go_to(neighbour)
    dock.review.verify.click()
    verified = layer.data[neighbour].copy()

    # use it as an example and continue both ways: better, and what is locked stays
    before = layer.data.copy()
    dock.bench.go_to(least)
    dock.review.continue_asked.emit("both")
    with qtbot.waitSignal(job.ended, timeout=120_000):
        pass
    rest = [p for p in others if p not in (least, neighbour)]
    second = np.mean([dice(layer.data[p], truth[p], [1]) for p in rest])
    assert second > np.mean([dice(before[p], truth[p], [1]) for p in rest]) - 0.02
    np.testing.assert_array_equal(layer.data[least], truth[least])
    np.testing.assert_array_equal(layer.data[neighbour], verified)
    after = layer.data.copy()

    # undo and redo the run
    reviewing.undo("run")
    qtbot.waitUntil(lambda: np.array_equal(layer.data, before))
    reviewing.redo("run")
    qtbot.waitUntil(lambda: np.array_equal(layer.data, after))

    # export, and repeat the run from the command line
    with qtbot.waitSignal(dock.keeping.exported, timeout=60_000):
        dock.keeping.export(str(path.with_name("walls.ome.tif")))
    exported = open_labels(path.with_name("walls.ome.tif"))
    np.testing.assert_array_equal([exported.read(p)[..., 0] for p in range(len(truth))], after)
    command = dock.keeping.command(path.with_name("ovule.incontext"))
    repeated = repeat(command, path)
    for p in rest:
        np.testing.assert_array_equal(repeated.read(p)[..., 0], after[p], err_msg=f"slice {p}")

    # restart, restore, compare
    dock.bench.close()
    again = make_napari_viewer()
    dock = open_dock(again, path, np.zeros_like(labels))
    assert dock.keeping.offer() is not None
    dock.restore.take.click()
    np.testing.assert_array_equal(dock.bench.planes.layer.data, after)
    assert dock.reviewing.annotated == {ANNOTATED, least}
    assert dock.reviewing.verified == {neighbour}
    assert dock.propagate.settings().quality == "fast"
    print(f"Dice of the walls: {first:.3f} from one slice, {second:.3f} after one correction")


def repeat(command, path):
    """Run a command line as it was copied, and open what it wrote."""
    words = shlex.split(command)
    assert words[0] == "incontext-seg"
    subprocess.run([sys.executable, "-m", "napari_incontext_seg", *words[1:]], check=True, cwd=path.parent)
    out = words[words.index("--out") + 1]
    return open_labels(path.parent / out)
