"""What `guess` is made of: filter responses, folds, normal equations."""

import numpy as np
import pytest
import torch
from skimage.filters import gaussian

from napari_incontext_seg.infer.filters import LINE_LEVELS, RESPONSES, SCALES, filter_responses, line_responses
from napari_incontext_seg.infer.ridge import BEYOND, RIDGE, ROUNDING, UNITS, Lift, Sample

RNG = np.random.default_rng(0)


def noise(*shape):
    return torch.tensor(RNG.random(shape), dtype=torch.float32)


def by_name(responses, scale):
    """Mean, gradient, larger and smaller Hessian eigenvalue, deviation of a one-channel plane at a scale."""
    at = SCALES.index(scale) * RESPONSES
    return responses[0, at : at + RESPONSES]


def test_a_flat_plane_has_a_mean_and_nothing_else():
    responses = filter_responses(torch.full((1, 1, 50, 40), 0.7))
    assert responses.shape == (1, len(SCALES) * RESPONSES, 50, 40)
    for scale in SCALES:
        mean, *others = by_name(responses, scale)
        torch.testing.assert_close(mean, torch.full((50, 40), 0.7))
        assert all(other.abs().max() < 1e-3 for other in others)


@pytest.mark.parametrize("scale", SCALES)
def test_the_mean_is_a_gaussian_also_where_it_is_made_of_a_reduced_image(scale):
    plane = noise(1, 1, 128, 128)
    expected = gaussian(plane[0, 0].numpy(), scale, mode="nearest", truncate=4)
    off = (by_name(filter_responses(plane), scale)[0].numpy() - expected)[16:-16, 16:-16]
    assert off.std() < 0.15 * expected[16:-16, 16:-16].std()


def test_a_bright_line_has_a_large_negative_eigenvalue_and_a_line_response():
    plane = torch.zeros(1, 1, 64, 64)
    plane[..., 31:33, :] = 1
    _, _, larger, smaller, _ = by_name(filter_responses(plane), 1.36)
    assert smaller[32, 32] < -0.3
    assert larger[32, 32].abs() < 0.05
    largest, smallest = line_responses(plane)[0, :2, 32, 32]
    assert largest > 0.2 > abs(smallest)


def test_a_turned_plane_gives_turned_responses():
    plane = noise(1, 2, 64, 64)
    for respond in (filter_responses, line_responses):
        turned = respond(plane.rot90(1, (2, 3)))
        torch.testing.assert_close(turned, respond(plane).rot90(1, (2, 3)), atol=1e-3, rtol=1e-3)
    assert line_responses(plane).shape == (1, 2 * len(LINE_LEVELS) * 2, 64, 64)


def test_samples_of_each_class_stand_for_all_its_pixels_and_both_folds_see_it():
    targets = torch.zeros(1, 3, 80, 80)
    targets[:, 1, 10:13, 10:20], targets[:, 2, 40:, :] = 1, 1
    targets[:, 0] = 1 - targets.sum(1)
    valid = torch.ones(1, 80, 80, dtype=torch.bool)
    valid[:, 70:] = False
    sample = Sample.drawn(targets, valid, 1000)
    sizes = (targets * valid[:, None]).sum((2, 3))
    torch.testing.assert_close((sample.target * sample.weight[..., None]).sum(1), sizes)
    in_second = (sample.target * sample.fold[..., None]).sum(1) / sample.target.sum(1)
    assert ((in_second >= 0.1) & (in_second <= 0.9)).all()


def test_normal_equations_add_up_and_solve_the_ridge_regression():
    features, target = noise(1, 600, 4), noise(1, 600, 2)
    lift = Lift.fitted(features)
    fold = torch.arange(600)[None] % 2

    def sums(rows):
        index = torch.arange(600)[None, rows]
        sample = Sample(index, target[:, rows], torch.ones(index.shape), fold[:, rows], grid=torch.tensor([2]))
        return lift.sums(features[:, rows], sample)

    held_out, both = (sums(slice(0, 250)) + sums(slice(250, 600))).solve()
    lifted = torch.cat(lift(features), dim=2)[0].double()
    for weights, rows in ((both[0], slice(None)), (held_out[0, 0], fold[0] == 1), (held_out[1, 0], fold[0] == 0)):
        a, b = lifted[rows], target[0][rows].double()
        ridge = torch.full((a.shape[1],), RIDGE * len(a), dtype=torch.float64)
        ridge[-1] *= 1e-6
        ridge += ROUNDING * (a**2).sum(0).mean()
        expected = torch.linalg.solve(a.T @ a + torch.diag(ridge), a.T @ b)
        torch.testing.assert_close(lifted @ weights.double(), lifted @ expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        lift.apply(features.mT, both)[0].T, (lifted @ both[0].double()).float(), atol=1e-4, rtol=0
    )


def test_features_far_beyond_what_was_fitted_count_as_if_nearer():
    features = noise(1, 600, 4)
    features[..., 3] = 0.5
    lift = Lift.fitted(features)
    weights = noise(1, UNITS + 4 + 1, 2)
    usual = features[:, :50].mT
    constant, far, border = usual.clone(), usual.clone(), usual.clone()
    constant[:, 3] = 1e3
    torch.testing.assert_close(lift.apply(constant, weights), lift.apply(usual, weights))
    low, high = features[..., 1].min(), features[..., 1].max()
    far[:, 1], border[:, 1] = -1e6, low - BEYOND * (high - low)
    torch.testing.assert_close(lift.apply(far, weights), lift.apply(border, weights))
