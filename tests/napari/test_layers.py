"""Image layers of any kind become stacks; labels layers take their planes, whichever two axes are displayed."""

import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_incontext_seg._napari.layers import LayerPlanes, align, fits, labels_for, lies_elsewhere, view_image
from napari_incontext_seg._napari.overlay import PlaneOverlay
from napari_incontext_seg.errors import InputError


def volume(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def planes_of(viewer, image, view):
    labels = viewer.add_labels(**labels_for(view))
    return labels, LayerPlanes(labels, view, lambda: view.position(viewer.dims))


@pytest.mark.parametrize(
    ("shape", "axes"), [((5, 6), "yx"), ((4, 5, 6), "zyx"), ((3, 4, 5, 6), "tzyx"), ((2, 3, 4, 5, 6), "tczyx")]
)
def test_an_image_of_any_number_of_axes_is_a_stack(viewer, shape, axes):
    image = viewer.add_image(volume(*shape), channel_axis=None)
    view = view_image(image, viewer.dims)
    assert view.stack.axes == axes
    assert view.stack.plane_shape == (5, 6)


@pytest.mark.parametrize(
    "place",
    [
        {"shear": [0, 0, 0.3]},
        {"rotate": [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]},
        {"affine": [[1, 0, 0, 5], [0, 1.5, 0.2, 30], [0, 0, 1, 0], [0, 0, 0, 1]], "scale": (2, 0.5, 0.5)},
    ],
    ids=["shear", "rotate", "affine"],
)
def test_labels_and_overlays_lie_where_an_image_is_turned_within_its_slices(viewer, place):
    image = viewer.add_image(volume(4, 5, 6), **place)
    view = view_image(image, viewer.dims)
    labels, _ = planes_of(viewer, image, view)
    overlay = PlaneOverlay(viewer, "preview")
    overlay.show(view, 2, np.ones((5, 6), np.uint32))
    assert not lies_elsewhere(labels, view)
    for corner in ((0, 0), (4, 5)):
        expected = image.data_to_world((2, *corner))
        np.testing.assert_allclose(labels.data_to_world((2, *corner)), expected)
        np.testing.assert_allclose(overlay.layer.data_to_world((0, *corner)), expected)


@pytest.mark.filterwarnings("ignore:Non-orthogonal")
@pytest.mark.parametrize("place", [{"shear": [0.3, 0, 0]}, {"rotate": [20, 0, 0]}], ids=["shear", "rotate"])
def test_an_image_that_is_askew_across_its_slices_is_refused(viewer, place):
    image = viewer.add_image(volume(4, 5, 6), **place)
    with pytest.raises(InputError, match="across its slices"):
        view_image(image, viewer.dims)


@pytest.mark.parametrize("axes", ["zyx", "czyx", "zcyx"])
def test_labels_that_lie_elsewhere_than_the_image_are_seen_and_aligned(viewer, axes):
    image = viewer.add_image(volume(4, 5, 6, 7)[: 4 if len(axes) == 4 else 1].squeeze(), axis_labels=axes)
    image.scale = [2, 0.5, 0.5, 0.5][-len(axes) :]
    view = view_image(image, viewer.dims)
    made = labels_for(view)
    labels = viewer.add_labels(made["data"])
    assert lies_elsewhere(labels, view)
    align(labels, view)
    assert not lies_elsewhere(labels, view)
    np.testing.assert_allclose(labels.scale, made["scale"])


@pytest.mark.parametrize("wrap", [np.asarray, da.from_array, lambda a: zarr.array(a)], ids=["numpy", "dask", "zarr"])
def test_numpy_dask_and_zarr_images_stay_as_they_are(viewer, wrap):
    data = wrap(volume(4, 5, 6))
    view = view_image(viewer.add_image(data, contrast_limits=(0, 120)), viewer.dims)
    assert view.stack.data is data
    np.testing.assert_array_equal(view.stack.read(2)[..., 0], volume(4, 5, 6)[2])


def test_colours_are_channels_of_a_plane(viewer):
    image = viewer.add_image(np.zeros((4, 5, 6, 3), np.uint8), rgb=True)
    view = view_image(image, viewer.dims)
    assert view.stack.axes == "zyxs"
    assert view.stack.read(1).shape == (5, 6, 3)


def test_of_several_resolutions_the_full_one_is_taken(viewer):
    full = volume(4, 64, 64)
    image = viewer.add_image([full, full[:, ::2, ::2]], multiscale=True)
    view = view_image(image, viewer.dims)
    assert view.stack.data.shape == (4, 64, 64)
    assert labels_for(view)["data"].shape == (4, 64, 64)


def test_axis_labels_say_what_axes_are(viewer):
    image = viewer.add_image(volume(2, 3, 5, 6), axis_labels=("channel", "time", "y", "x"))
    view = view_image(image, viewer.dims)
    assert view.stack.axes == "ctyx"
    assert view.stack.plane_axes == "t"


@pytest.mark.parametrize(("axes", "planes"), [("ZCYX", "z"), ("TZYX", "tz"), ("TCYX", "t")])
def test_a_file_says_what_axes_are(viewer, tmp_path, axes, planes):
    file = tmp_path / "hyper.tif"
    tifffile.imwrite(file, volume(4, 2, 5, 6), imagej=True, metadata={"axes": axes})
    image = viewer.open(str(file), plugin="napari")[0]
    view = view_image(image, viewer.dims)
    assert view.stack.axes == axes.lower()
    assert view.stack.plane_axes == planes
    image.data = image.data[:3]  # no longer what the file holds
    assert view_image(image, viewer.dims).stack.axes == "tzyx"


def test_axes_can_be_named(viewer):
    image = viewer.add_image(volume(2, 3, 5, 6))
    assert view_image(image, viewer.dims, "czyx").stack.plane_axes == "z"
    with pytest.raises(InputError, match="tzyx"):
        view_image(image, viewer.dims, "zyx")


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0), (0, 2, 1)])
def test_a_plane_is_what_is_displayed_whichever_axis_that_is(viewer, order):
    data = volume(4, 5, 6)
    image = viewer.add_image(data)
    viewer.dims.order = order
    viewer.dims.set_point(order[0], 2)
    view = view_image(image, viewer.dims)
    position = view.position(viewer.dims)
    assert position == 2
    shown = np.moveaxis(data, order[0], 0)[2]
    shown = shown if order[1] < order[2] else shown.T
    np.testing.assert_array_equal(view.stack.read(position)[..., 0], shown)
    assert view.shows(viewer.dims)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_a_plane_is_written_where_it_is_read(viewer, order):
    image = viewer.add_image(volume(4, 5, 6))
    viewer.dims.order = order
    view = view_image(image, viewer.dims)
    labels, planes = planes_of(viewer, image, view)
    plane = np.arange(np.prod(view.stack.plane_shape), dtype=np.uint32).reshape(view.stack.plane_shape)
    planes.write(1, plane)
    np.testing.assert_array_equal(planes.read(1), plane)
    assert not planes.read(0).any()
    on_display = np.take(labels.data, 1, axis=order[0])
    np.testing.assert_array_equal(on_display if order[1] < order[2] else on_display.T, plane)


def test_positions_do_not_depend_on_scale_and_translation(viewer):
    image = viewer.add_image(volume(4, 5, 6), scale=(2.5, 0.5, 0.5), translate=(100, -20, 7))
    view = view_image(image, viewer.dims)
    for position in range(4):
        view.go_to(viewer.dims, position)
        assert view.position(viewer.dims) == position
    assert viewer.dims.point[0] == pytest.approx(100 + 3 * 2.5)


def test_positions_count_through_time_and_depth(viewer):
    view = view_image(viewer.add_image(volume(3, 4, 5, 6)), viewer.dims)
    view.go_to(viewer.dims, 7)
    assert viewer.dims.current_step[:2] == (1, 3)
    assert view.title(7) == "t 1, z 3"


def test_a_flat_image_beside_a_stack_has_one_position(viewer):
    viewer.add_image(volume(4, 5, 6))
    view = view_image(viewer.add_image(volume(5, 6)), viewer.dims)
    assert view.position(viewer.dims) == 0


def test_beyond_the_image_there_is_no_position(viewer):
    viewer.add_image(volume(9, 5, 6))
    view = view_image(viewer.add_image(volume(4, 5, 6)), viewer.dims)
    viewer.dims.set_point(0, 7)
    assert view.position(viewer.dims) is None


def test_new_labels_lie_where_the_image_does(viewer):
    image = viewer.add_image(
        volume(4, 5, 6), scale=(2, 0.5, 0.25), translate=(10, 20, 30), units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
    )  # fmt: skip
    labels = viewer.add_labels(**labels_for(view_image(image, viewer.dims)))
    np.testing.assert_allclose(labels.scale, image.scale)
    np.testing.assert_allclose(labels.translate, image.translate)
    assert labels.units == image.units
    assert labels.axis_labels == image.axis_labels
    assert labels.data.shape == (4, 5, 6)
    np.testing.assert_allclose(labels.extent.world, image.extent.world)


def test_labels_of_a_multichannel_image_are_seen_in_every_channel(viewer):
    image = viewer.add_image(volume(2, 3, 4, 5, 6), axis_labels=("t", "c", "z", "y", "x"))
    view = view_image(image, viewer.dims)
    labels, planes = planes_of(viewer, image, view)
    assert labels.data.shape == (2, 1, 4, 5, 6)
    planes.write(5, np.full((5, 6), 3, np.uint32))
    for channel in range(3):
        viewer.dims.current_step = (1, channel, 1, 0, 0)
        assert view.position(viewer.dims) == 5
        assert labels.get_value((1, channel, 1, 2, 2), world=True) == 3


def test_a_channel_axis_in_front_is_left_out_of_the_labels(viewer):
    view = view_image(viewer.add_image(volume(3, 4, 5, 6), axis_labels=("c", "z", "y", "x")), viewer.dims)
    assert labels_for(view)["data"].shape == (4, 5, 6)


def test_labels_that_do_not_fit_are_refused_in_words(viewer):
    view = view_image(viewer.add_image(volume(4, 5, 6)), viewer.dims)
    other = viewer.add_labels(np.zeros((4, 5, 7), np.uint8))
    assert not fits(other, view)
    with pytest.raises(InputError, match="as large as the image"):
        LayerPlanes(other, view, lambda: None)


def test_dask_labels_cannot_be_written_to(viewer):
    view = view_image(viewer.add_image(volume(4, 5, 6)), viewer.dims)
    with pytest.raises(InputError, match="cannot be written to"):
        LayerPlanes(viewer.add_labels(da.zeros((4, 5, 6), dtype=np.uint8)), view, lambda: None)


def test_a_label_too_large_for_the_layer_is_refused(viewer):
    view = view_image(viewer.add_image(volume(4, 5, 6)), viewer.dims)
    planes = LayerPlanes(viewer.add_labels(np.zeros((4, 5, 6), np.uint8)), view, lambda: None)
    with pytest.raises(InputError, match="up to 255"):
        planes.write(0, np.full((5, 6), 256, np.uint32))


@pytest.mark.parametrize("kind", ["numpy", "zarr"])
def test_written_planes_are_drawn_and_leave_the_history_of_painting_true(viewer, kind):
    view = view_image(viewer.add_image(volume(4, 5, 6)), viewer.dims)
    data = np.zeros((4, 5, 6), np.uint32)
    labels = viewer.add_labels(data if kind == "numpy" else zarr.array(data))
    planes = LayerPlanes(labels, view, lambda: view.position(viewer.dims))
    viewer.dims.set_point(0, 1)
    labels.brush_size = 1
    labels.paint((1, 2, 2), 7)
    plane = planes.read(1)
    plane[4] = 5
    planes.write(1, plane)
    assert labels.get_value((1, 4, 4)) == 5  # what is on display
    labels.undo()
    assert not (planes.read(1) == 7).any()
    assert (planes.read(1)[4] == 5).all()


def test_a_paint_event_tells_which_pixels_of_which_slices(viewer):
    view = view_image(viewer.add_image(volume(4, 9, 9)), viewer.dims)
    labels, planes = planes_of(viewer, None, view)
    seen = []
    labels.events.paint.connect(lambda event: seen.append(planes.painted(event.value)))
    labels.brush_size = 3
    viewer.dims.set_point(0, 2)
    labels.paint((2, 4, 4), 1)
    labels.data_setitem((np.array([3]), np.array([0]), np.array([8])), 6)
    assert [list(masks) for masks in seen] == [[2], [3]]
    np.testing.assert_array_equal(seen[0][2], labels.data[2] > 0)
    assert seen[1][3].sum() == 1
    assert seen[1][3][0, 8]


@pytest.mark.parametrize("shape", [(1, 4, 9, 9), (1, 9, 9)])
def test_labels_without_an_axis_of_length_one_can_be_painted_in(viewer, shape):
    view = view_image(viewer.add_image(volume(*shape)), viewer.dims)
    labels = viewer.add_labels(np.zeros(shape[1:], np.uint8))
    planes = LayerPlanes(labels, view, lambda: None)
    seen = []
    labels.events.paint.connect(lambda event: seen.append(planes.painted(event.value)))
    labels.paint((2, 4, 4)[-labels.ndim :], 1)
    assert [list(masks) for masks in seen] == [[2 if len(shape) == 4 else 0]]
    assert labels.data.any()


def test_labels_too_large_for_memory_are_on_disk(viewer, monkeypatch):
    monkeypatch.setattr("napari_incontext_seg._napari.layers.LARGE", 100)
    view = view_image(viewer.add_image(volume(4, 5, 6)), viewer.dims)
    labels, planes = planes_of(viewer, None, view)
    assert isinstance(labels.data, zarr.Array)
    planes.write(2, np.full((5, 6), 9, np.uint32))
    assert (planes.read(2) == 9).all()
    assert not planes.read(1).any()


def test_large_labels_leave_nothing_on_disk_when_napari_is_closed():
    script = """
from napari_incontext_seg._napari import layers
layers.LARGE = 100
labels = layers._zeros((4, 50, 60))
labels[2] = 3
print(labels.store.root)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    folder = Path(done.stdout.split()[-1])
    assert "incontext-labels-" in str(folder)
    assert not folder.exists()
