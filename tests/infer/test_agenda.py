"""Who may paint what, and when."""

import random

import numpy as np
import pytest
from fakes import ThresholdPredictor
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_incontext_seg.core.stack import Stack
from napari_incontext_seg.infer.agenda import Agenda
from napari_incontext_seg.infer.propagate import propagate

LABELS = np.array([[0, 1], [0, 1]])


def run_over(grid, annotated, memory):
    return propagate(
        Stack(np.zeros((*grid, 2, 2), bool), "tz"[-len(grid) :] + "yx"),
        dict.fromkeys(annotated, LABELS), ThresholdPredictor(), memory=memory,
    )  # fmt: skip


def pieces(agenda):
    """All that can be painted now."""
    return list(iter(agenda.take, []))


def test_without_memory_every_plane_can_be_painted_at_once():
    assert pieces(Agenda(run_over([10], [0], 0), size=4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_with_memory_a_sequence_goes_on_when_its_last_piece_is_finished():
    agenda = Agenda(run_over([10], [4], 2), size=3)
    assert pieces(agenda) == [[4], [5, 6, 7], [3, 2, 1]]  # onward and back of an annotated plane are two sequences
    agenda.finish([3, 2, 1])
    assert pieces(agenda) == [[0]]
    agenda.finish([5, 6, 7])
    assert pieces(agenda) == [[8, 9]]


def test_a_time_lapse_of_stacks_goes_through_time_side_by_side():
    agenda = Agenda(run_over([5, 3], [0, 1, 2], 1), size=8)
    assert sorted(pieces(agenda)) == [[0], [1], [2], [3, 6, 9, 12], [4, 7, 10, 13], [5, 8, 11, 14]]


@settings(max_examples=60, deadline=None)
@given(
    grid=st.lists(st.integers(1, 5), min_size=1, max_size=2),
    annotated=st.sets(st.integers(0, 24), min_size=1, max_size=4),
    memory=st.integers(0, 3),
    size=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_every_plane_comes_once_after_those_it_follows(grid, annotated, memory, size, seed):
    run = run_over(grid, {p % int(np.prod(grid)) for p in annotated}, memory)
    agenda, chance = Agenda(run, size), random.Random(seed)
    underway, finished = pieces(agenda), []
    while underway:
        piece = underway.pop(chance.randrange(len(underway)))  # workers finish in any order
        for k, position in enumerate(piece):
            assert set(run.predecessors(position)) <= {*finished, *piece[:k]}
        finished += piece
        agenda.finish(piece)
        underway += pieces(agenda)
    assert sorted(finished) == sorted(run.positions)


@pytest.mark.parametrize("memory", [0, 2])
def test_a_piece_has_no_more_planes_than_asked_for(memory):
    agenda = Agenda(run_over([9], [0], memory), size=2)
    while piece := agenda.take():
        assert len(piece) <= 2
        agenda.finish(piece)
