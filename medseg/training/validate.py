"""Dice of whole validation volumes, on the grid the network sees."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from torch import nn

from medseg.config import Experiment
from medseg.data import PreparedCache
from medseg.inference import Engine, TorchEngine, plan_windows, predict_classes
from medseg.training.prepare import PreparedCase, open_prepared
from medseg.training.team import Team
from medseg.transforms import Prepared


def validate(
    network: nn.Module,
    experiment: Experiment,
    cases: Sequence[PreparedCase],
    cache: PreparedCache,
    team: Team,
    check: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Mean Dice of each structure over the cases that show or predict it, and ``mean`` over structures.

    Cases where a structure was not contoured, or is neither drawn nor predicted, say nothing about it.
    Each process of ``team`` scores its share. ``check`` is called between windows; it may raise to give the
    validation up.
    """
    engine = TorchEngine(network, str(team.fabric.device.type), experiment.training.precision)
    scores = np.zeros((len(cases), len(experiment.labels)))
    for index, case in enumerate(cases):
        if index % team.size == team.fabric.global_rank:
            scores[index] = case_dice(engine, experiment, open_prepared(case, cache), case.known, check)
    everywhere = np.array(team.sums(*scores.ravel().tolist())).reshape(scores.shape)
    return _means(everywhere, tuple(experiment.labels))


def mean_dice(
    engine: Engine,
    experiment: Experiment,
    cases: Iterable[tuple[Prepared, Sequence[bool]]],
    check: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """As :func:`validate`, of preprocessed cases and which classes are known in each."""
    rows = [case_dice(engine, experiment, prepared, known, check) for prepared, known in cases]
    return _means(np.array(rows).reshape(-1, len(experiment.labels)), tuple(experiment.labels))


def case_dice(
    engine: Engine,
    experiment: Experiment,
    prepared: Prepared,
    known: Sequence[bool],
    check: Callable[[], None] = lambda: None,
) -> list[float]:
    """Dice of each structure; NaN where the case says nothing about it."""
    check()
    if prepared.label is None:
        return [math.nan] * len(experiment.labels)
    classes = predict_classes(
        engine,
        prepared,
        prepared.geometry,
        plan_windows(experiment),
        pairs=experiment.class_pairs,
        progress=lambda _done, _total: check(),
    )
    dice = dice_by_class(classes, prepared.label.numpy(), experiment.class_count)
    told = zip(dice[1:], known[1:], strict=True)
    return [math.nan if value is None or not shown else value for value, shown in told]


def _means(scores: Float[np.ndarray, "cases structures"], names: Sequence[str]) -> dict[str, float]:
    columns = {name: column[~np.isnan(column)] for name, column in zip(names, scores.T, strict=True)}
    means = {name: float(np.mean(column)) for name, column in columns.items() if len(column)}
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
