"""The order in which planes are visited."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.errors import InputError
from napari_incontext_seg.infer.route import ancestors, plan_route


def stack(**sizes):
    return Stack(np.zeros((*sizes.values(), 4, 5), np.uint8), "".join(sizes) + "yx")


def positions(route):
    return [stop.position for stop in route]


def test_onward_then_back_from_each_annotated_slice():
    assert positions(plan_route(stack(z=7), [2])) == [2, 3, 4, 5, 6, 1, 0]


def test_two_annotated_slices_meet_in_the_middle():
    route = plan_route(stack(z=9), [1, 7])
    assert positions(route) == [1, 2, 3, 4, 0, 7, 8, 6, 5]
    assert {s.position: s.source for s in route}[4] == 1


@pytest.mark.parametrize(("direction", "expected"), [("onward", [3, 4, 5]), ("backward", [3, 2, 1, 0])])
def test_direction(direction, expected):
    assert positions(plan_route(stack(z=6), [3], direction=direction)) == expected


def test_range_limits_what_is_visited_but_not_what_is_shown():
    assert positions(plan_route(stack(t=10), [0], span=(4, 7))) == [4, 5, 6]


def test_time_lapse_of_stacks_fills_z_first_then_goes_through_time():
    route = plan_route(stack(t=2, z=3), [1])
    assert positions(route) == [1, 2, 0, 4, 5, 3]
    assert {s.position: s.parent for s in route}[5] == 2  # same z, one time point earlier


def test_along_one_axis_only():
    assert positions(plan_route(stack(t=2, z=3), [1], along="z")) == [1, 2, 0]
    assert positions(plan_route(stack(t=3, z=3), [1], along="t")) == [1, 4, 7]


def test_single_image_is_a_route_of_one():
    assert positions(plan_route(stack(), [0])) == [0]


@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    data=st.data(),
    direction=st.sampled_from(["onward", "backward", "both"]),
)
def test_every_plane_comes_once_and_after_its_parent(sizes, data, direction):
    s = stack(t=sizes[0], z=sizes[1])
    annotated = data.draw(st.lists(st.integers(0, len(s) - 1), min_size=1, max_size=3))
    route = plan_route(s, annotated, direction=direction)
    order = positions(route)
    assert len(order) == len(set(order))
    assert set(annotated) <= set(order)
    if direction == "both":
        assert sorted(order) == list(range(len(s)))
    for i, stop in enumerate(route):
        assert (stop.parent is None) == (stop.position in annotated)
        # a parent beyond the direction's reach is not visited at all, and one of another annotated plane may come later
        if stop.parent in order[i:]:
            assert {r.position: r.source for r in route}[stop.parent] != stop.source


def test_ancestors_are_the_planes_visited_before_nearest_first():
    stops = {s.position: s for s in plan_route(stack(z=6), [0])}
    assert list(ancestors(stops, 5, 3)) == [4, 3, 2]
    assert list(ancestors(stops, 1, 3)) == [0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"annotated": []}, "no slice is annotated"),
        ({"annotated": [9]}, "slice 9 does not exist"),
        ({"annotated": [0], "along": "q"}, "along must name axes"),
        ({"annotated": [0], "span": (3, 3)}, "range must lie within 0:5"),
        ({"annotated": [0], "span": (0, 9)}, "range must lie within 0:5"),
        ({"annotated": [0], "direction": "up"}, "direction must be one of"),
    ],
)
def test_what_cannot_be_is_said(arguments, message):
    with pytest.raises(InputError, match=message):
        plan_route(stack(z=5), **arguments)
