"""What a network learns to do: losses over class probabilities, blind to structures nobody drew."""

from collections.abc import Callable
from typing import assert_never

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from medseg.config.training import CrossEntropyLoss, DiceCELoss, DiceLoss, FocalLoss, Loss, TverskyLoss

_SMOOTH = 1e-5
Total = Callable[[Tensor], Tensor]


def objective(
    logits: Float[Tensor, "B L I J K"] | list[Tensor],
    target: UInt8[Tensor, "B I J K"],
    known: Bool[Tensor, "B L"],
    loss: Loss,
    total: Total = lambda sums: sums,
) -> Float[Tensor, ""]:
    """Loss of one batch; a list of logits (deep supervision) is weighted 1, 1/2, 1/4, ... and normalised.

    Args:
        target: class indices.
        known: whether a class was contoured in the case that each patch comes from (background always is).
        total: adds what was counted over this batch to that of the other processes, whose batches are the
            rest of one.
    """
    if isinstance(logits, Tensor):
        return _single(logits, target, known, loss, total)
    weights = [0.5**level for level in range(len(logits))]
    levels = sum(
        weight * _single(level, _shrunk(target, level), known, loss, total)
        for weight, level in zip(weights, logits, strict=True)
    )
    return torch.as_tensor(levels) / sum(weights)


def fold_unknown(
    logits: Float[Tensor, "B L I J K"], known: Bool[Tensor, "B L"]
) -> Float[Tensor, "B L I J K"]:
    """Add the probability of classes that were not contoured in a case to its background.

    A voxel drawn as background there may belong to any of them, so the network is told nothing about which
    (marginal loss, Shi 2021): background becomes the log-sum of background and unknown classes, and the
    unknown ones get probability 0.
    """
    if bool(known.all()):
        return logits
    unknown = ~known[:, :, None, None, None]
    lowest = torch.finfo(logits.dtype).min / 4
    hidden = logits.masked_fill(~unknown, lowest)
    background = torch.logsumexp(torch.cat([logits[:, :1], hidden[:, 1:]], dim=1), dim=1, keepdim=True)
    return torch.cat([background, logits[:, 1:].masked_fill(unknown[:, 1:], lowest)], dim=1)


def _single(logits: Tensor, target: Tensor, known: Tensor, loss: Loss, total: Total) -> Tensor:
    logits = fold_unknown(logits.float(), known)
    log_p = torch.log_softmax(logits, dim=1)
    truth = target.long()
    match loss:
        case DiceLoss():
            return _overlap_loss(_counts(log_p, truth, known, total), 0.5, 0.5)
        case CrossEntropyLoss():
            return _cross_entropy(log_p, truth)
        case DiceCELoss():
            dice = _overlap_loss(_counts(log_p, truth, known, total), 0.5, 0.5, present_only=True)
            return loss.dice_weight * dice + loss.ce_weight * _cross_entropy(log_p, truth)
        case FocalLoss():
            log_t = log_p.gather(1, truth[:, None])
            return (-((1 - log_t.exp()) ** loss.gamma) * log_t).mean()
        case TverskyLoss():
            return _overlap_loss(_counts(log_p, truth, known, total), loss.alpha, loss.beta)
        case _:
            assert_never(loss)


def _cross_entropy(log_p: Tensor, truth: Tensor) -> Tensor:
    return torch.nn.functional.nll_loss(log_p, truth)


def _counts(log_p: Tensor, truth: Tensor, known: Tensor, total: Total) -> Float[Tensor, "4 structures"]:
    """Over the batch, of each structure: predicted and drawn voxels in both, predicted, drawn, and the
    patches of cases that someone drew it in."""
    p = log_p.exp()
    hot = torch.zeros_like(p).scatter_(1, truth[:, None], 1.0)
    axes = (2, 3, 4)
    sums = torch.stack([(p * hot).sum(axes), p.sum(axes), hot.sum(axes), torch.ones_like(p[..., 0, 0, 0])])
    counts: Tensor = (sums[:, :, 1:] * known[:, 1:].to(p.dtype)).sum(1)
    return total(counts)


def _overlap_loss(
    counts: Float[Tensor, "4 structures"], alpha: float, beta: float, *, present_only: bool = False
) -> Tensor:
    """One minus the Tversky index, counted over the batch, mean over structures that someone drew.

    alpha = beta = 1/2 is soft Dice. Counting over the batch keeps patches without a structure from giving
    gradients that depend on the smoothing alone. With ``present_only``, structures that are nowhere in the
    batch have no part: their index is 0 unless hardly a trace is predicted, which drowns what the others tell
    when batches are small; the cross-entropy beside it teaches their absence.
    """
    both, predicted, drawn, seen = counts
    index = (both + _SMOOTH) / (both + alpha * (predicted - both) + beta * (drawn - both) + _SMOOTH)
    taught = (drawn > 0 if present_only else seen > 0).to(index.dtype)
    mean: Tensor = ((1 - index) * taught).sum() / taught.sum().clamp_min(1)
    return mean


def _shrunk(target: Tensor, logits: Tensor) -> Tensor:
    """Nearest labels at the resolution of coarser logits."""
    size = logits.shape[2:]
    if target.shape[1:] == size:
        return target
    return torch.nn.functional.interpolate(target[:, None].float(), size=size, mode="nearest-exact")[:, 0].to(
        torch.uint8
    )
