"""Dice of whole validation volumes, on the grid the network sees."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import UInt8
from torch import nn

from medseg.config import Experiment
from medseg.data import PreparedCache
from medseg.inference import Engine, TorchEngine, plan_windows, predict_classes
from medseg.training.prepare import PreparedCase, open_prepared
from medseg.transforms import Prepared


def validate(
    network: nn.Module,
    experiment: Experiment,
    cases: Sequence[PreparedCase],
    cache: PreparedCache,
    check: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Mean Dice of each structure over the cases that show or predict it, and ``mean`` over structures.

    Cases where a structure was not contoured, or is neither drawn nor predicted, say nothing about it.
    ``check`` is called between windows; it may raise to give the validation up.
    """
    engine = TorchEngine(network, experiment.training.device, experiment.training.precision)
    opened = ((open_prepared(case, cache), case.known) for case in cases)
    return mean_dice(engine, experiment, opened, check)


def mean_dice(
    engine: Engine,
    experiment: Experiment,
    cases: Iterable[tuple[Prepared, Sequence[bool]]],
    check: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """As :func:`validate`, of preprocessed cases and which classes are known in each."""
    plan = plan_windows(experiment)
    scores: dict[str, list[float]] = {name: [] for name in experiment.labels}
    for prepared, known in cases:
        check()
        if prepared.label is None:
            continue
        classes = predict_classes(
            engine,
            prepared,
            prepared.geometry,
            plan,
            pairs=experiment.class_pairs,
            progress=lambda _done, _total: check(),
        )
        dice = dice_by_class(classes, prepared.label.numpy(), experiment.class_count)
        for index, name in enumerate(experiment.labels, start=1):
            if known[index] and dice[index] is not None:
                scores[name].append(dice[index] or 0.0)
    means = {name: float(np.mean(values)) for name, values in scores.items() if values}
    return {"mean": float(np.mean(list(means.values()))) if means else 0.0, **means}


def dice_by_class(
    prediction: UInt8[np.ndarray, "I J K"], reference: UInt8[np.ndarray, "I J K"], classes: int
) -> list[float | None]:
    """Dice of each class; None where neither array has it."""
    pairs = np.bincount(
        (reference.ravel().astype(np.int32) * classes + prediction.ravel()), minlength=classes**2
    ).reshape(classes, classes)
    both, sizes = np.diag(pairs), pairs.sum(0) + pairs.sum(1)
    return [2 * float(b) / float(s) if s else None for b, s in zip(both, sizes, strict=True)]
