"""Losses against plain formulas, and blindness to what nobody drew."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.config.training import CrossEntropyLoss, DiceCELoss, DiceLoss, FocalLoss, TverskyLoss
from medseg.training.objective import fold_unknown, objective

LOSSES = [
    DiceLoss(kind="dice"),
    CrossEntropyLoss(kind="ce"),
    DiceCELoss(kind="dice_ce"),
    FocalLoss(kind="focal"),
    TverskyLoss(kind="tversky"),
]


def batch(classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, classes, 4, 5, 6), generator=generator)
    target = torch.randint(0, classes, (2, 4, 5, 6), generator=generator).to(torch.uint8)
    return logits, target, torch.ones((2, classes), dtype=torch.bool)


def perfect(target: torch.Tensor, classes: int = 3) -> torch.Tensor:
    return torch.nn.functional.one_hot(target.long(), classes).movedim(-1, 1).float() * 40


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much(loss) -> None:
    _, target, known = batch()
    assert float(objective(perfect(target), target, known, loss)) < 1e-3
    assert float(objective(perfect((target + 1) % 3), target, known, loss)) > 0.6


def test_dice_is_the_formula_of_the_paper() -> None:
    logits, target, known = batch()
    p = torch.softmax(logits, 1).numpy()
    hot = np.stack([(target.numpy() == c) for c in range(3)], 1)
    dice = [2 * (p[:, c] * hot[:, c]).sum() / (p[:, c].sum() + hot[:, c].sum()) for c in (1, 2)]
    found = float(objective(logits, target, known, DiceLoss(kind="dice")))
    assert found == pytest.approx(1 - np.mean(dice), abs=1e-5)


def test_cross_entropy_focal_and_tversky_agree_with_their_formulas() -> None:
    logits, target, known = batch()
    ce = torch.nn.functional.cross_entropy(logits, target.long())
    torch.testing.assert_close(objective(logits, target, known, CrossEntropyLoss(kind="ce")), ce)
    plain = objective(logits, target, known, FocalLoss(kind="focal", gamma=0))
    torch.testing.assert_close(plain, ce)
    half = objective(logits, target, known, TverskyLoss(kind="tversky", alpha=0.5, beta=0.5))
    torch.testing.assert_close(half, objective(logits, target, known, DiceLoss(kind="dice")))


def test_unknown_classes_lend_their_probability_to_background() -> None:
    logits, _, known = batch()
    known[0, 2] = False
    p, folded = torch.softmax(logits, 1), torch.softmax(fold_unknown(logits, known), 1)
    torch.testing.assert_close(folded[0, 0], p[0, 0] + p[0, 2])
    torch.testing.assert_close(folded[0, 1], p[0, 1])
    assert float(folded[0, 2].max()) == 0
    torch.testing.assert_close(folded[1], p[1])


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
@given(seed=st.integers(0, 1000))
def test_a_case_without_a_contour_teaches_nothing_about_it(loss, seed: int) -> None:
    """Moving probability between background and a structure nobody drew changes neither loss nor gradient."""
    logits, target, known = batch(seed=seed)
    known[0, 2] = False
    target[0][target[0] == 2] = 0
    shared = logits.clone()
    both = torch.logsumexp(logits[0, [0, 2]], 0)
    share = torch.sigmoid(torch.randn(both.shape, generator=torch.Generator().manual_seed(seed)))
    shared[0, 0], shared[0, 2] = both + share.log(), both + (1 - share).log()
    before, after = (objective(x, target, known, loss) for x in (logits, shared))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_deep_supervision_weighs_levels_by_halves() -> None:
    _, target, known = batch()
    loss = CrossEntropyLoss(kind="ce")
    coarse = torch.randn(2, 3, 2, 3, 3)
    full = torch.randn(2, 3, 4, 5, 6)
    small = torch.nn.functional.interpolate(target[:, None].float(), (2, 3, 3), mode="nearest-exact")[:, 0]
    expected = (
        objective(full, target, known, loss) + 0.5 * objective(coarse, small.to(torch.uint8), known, loss)
    ) / 1.5
    torch.testing.assert_close(objective([full, coarse], target, known, loss), expected)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_gradients_are_finite_also_for_extreme_logits(loss) -> None:
    logits, target, known = batch()
    logits = (logits * 1e4).requires_grad_()
    known[1, 1] = False
    target[1][target[1] == 1] = 0
    objective(logits, target, known, loss).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_dice_with_cross_entropy_counts_only_structures_that_are_there() -> None:
    logits, target, known = batch()
    target[target == 2] = 0
    parts = DiceCELoss(kind="dice_ce", ce_weight=0)
    p = torch.softmax(logits, 1)[:, 1]
    dice = 2 * p[target == 1].sum() / (p.sum() + (target == 1).sum())
    torch.testing.assert_close(objective(logits, target, known, parts), 1 - dice)
    target[:] = 0
    assert float(objective(logits, target, known, parts)) == 0
