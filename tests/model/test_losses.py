"""The loss counts what was hidden, and nothing else."""

from __future__ import annotations

import pytest
import torch

from napari_incontext_seg.model.losses import BETA, masked_smooth_l1


def test_what_was_visible_does_not_count() -> None:
    target = torch.zeros(2, 3, 4, 4)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :2] = True
    painted = torch.where(mask[:, None], 1.0, 7.0).expand_as(target)
    assert masked_smooth_l1(painted, target, mask) == pytest.approx(1 - BETA / 2)


def test_it_is_quadratic_close_to_the_target() -> None:
    painted = torch.full((1, 3, 2, 2), BETA / 2, requires_grad=True)
    loss = masked_smooth_l1(painted, torch.zeros(1, 3, 2, 2), torch.ones(1, 2, 2))
    assert loss.item() == pytest.approx(BETA / 8)
    loss.backward()
    assert painted.grad is not None
    assert painted.grad.sum().item() == pytest.approx(0.5)


def test_an_empty_mask_costs_nothing() -> None:
    assert masked_smooth_l1(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2)) == 0
