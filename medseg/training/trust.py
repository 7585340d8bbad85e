"""What validation patients tell of a finished network: how sure it should be, and which masks to look at.

One pass over the validation cases, after training. The temperature is chosen from a grid, so that the sums
for each of them are made while the scores stream by.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from scipy.stats import spearmanr
from torch import Tensor

from medseg.config import Experiment
from medseg.data import PreparedCache
from medseg.evaluation.ranking import auroc, worst
from medseg.inference.confidence import PromisedDice, as_logits, telling
from medseg.inference.engine import Engine, TorchEngine
from medseg.inference.predict import stream_axis
from medseg.inference.review import ReviewRule, UsualVolume, review
from medseg.inference.sliding import stream_scores
from medseg.inference.windows import plan_windows
from medseg.modelfile import load_model, load_network, save_model
from medseg.training.prepare import PreparedCase, PreparedCohort, open_prepared
from medseg.training.validate import dice_by_class

Progress = Callable[[int, int], None]

TEMPERATURES = tuple(round(1.05**n, 4) for n in range(-19, 29))
BINS = 15
FEWEST = 5
"""Validation patients without whom no threshold is set."""
_LEAST_SPREAD = 0.1
_TOGETHER = 1 << 17


class Calibration:
    """Negative log-likelihood and calibration error of every temperature, over voxels that tell something.

    Those are voxels where a structure is drawn, or has a ten-thousandth of the background's probability.
    The expected calibration error (Guo 2017) is the mean distance of confidence and accuracy over 15 bins of
    the highest probability, weighted by voxels.
    """

    def __init__(self) -> None:
        self.voxels = 0
        self._loss = torch.zeros(len(TEMPERATURES), dtype=torch.float64)
        self._bins = torch.zeros(len(TEMPERATURES), 3, BINS, dtype=torch.float64)

    def add(self, index: int, q: Float32[Tensor, "L n"], truth: Int64[Tensor, " n"]) -> None:
        """Probabilities at temperature ``index``."""
        top, drawn = q.amax(0), q.gather(0, truth[None])[0]
        self._loss[index] -= drawn.clamp_min(1e-12).log().sum(dtype=torch.float64)
        place = (top * BINS).long().clamp_(0, BINS - 1)
        values = torch.stack([torch.ones_like(top), top, (drawn == top).float()]).double()
        self._bins[index].index_add_(1, place, values)

    @property
    def chosen(self) -> int:
        """The temperature with the smallest loss."""
        return int(self._loss.argmin())

    def error(self, index: int) -> float:
        count, confidence, right = self._bins[index]
        return float((confidence - right).abs().sum() / count.sum().clamp_min(1))

    def curve(self, index: int) -> list[list[float]]:
        """Of each bin that has voxels: mean confidence, accuracy, share of the voxels."""
        count, confidence, right = self._bins[index]
        rows = torch.stack([confidence / count, right / count, count / count.sum()], 1)[count > 0]
        return [[round(float(value), 5) for value in row] for row in rows]


@dataclass(frozen=True)
class _Looked:
    """A validation case: Dice of each structure (NaN: says nothing), and what each temperature promises."""

    dice: list[float]
    promised: list[list[float]]
    volumes_ml: dict[str, float]


def add_review_rule(
    path: Path, cohort: PreparedCohort, cache: PreparedCache, progress: Progress | None = None
) -> None:
    """Give the model file at ``path`` the rule that ``cohort`` teaches; the same cases give the same rule.

    Raises:
        ModelFileError: the file is damaged.
        EnvironmentProblem: it cannot be written.
    """
    model = load_model(path)
    training = model.experiment.training
    engine = TorchEngine(load_network(model), training.device, training.precision)
    rule = review_rule(engine, model.experiment, cohort, cache, progress)
    save_model(path, replace(model, review=rule.to_json() if rule else {}))


def review_rule(
    engine: Engine,
    experiment: Experiment,
    cohort: PreparedCohort,
    cache: PreparedCache,
    progress: Progress | None = None,
) -> ReviewRule | None:
    """What the model file keeps for :func:`medseg.inference.review.review`; None without validation cases.

    ``progress`` is called with cases done and cases in all.
    """
    validation = cohort.validation
    if not validation or experiment.inference.nested:
        return None
    calibration, looked = Calibration(), []
    for done, case in enumerate(validation, start=1):
        looked.append(_look(engine, experiment, case, cache, calibration))
        if progress is not None:
            progress(done, len(validation))
    if not calibration.voxels:
        return None
    index = calibration.chosen
    rule = ReviewRule(TEMPERATURES[index], None, usual_volumes(experiment, cohort.train, cache))
    scores, dice = _judged(rule, experiment, looked, index)
    threshold = 1 - float(np.quantile(scores, 0.8)) if len(scores) >= FEWEST else None
    plain = TEMPERATURES.index(1.0)
    measured = {
        "cases": len(validation),
        "voxels": calibration.voxels,
        "calibration_error": {"before": calibration.error(plain), "after": calibration.error(index)},
        "reliability": {"before": calibration.curve(plain), "after": calibration.curve(index)},
        "auroc_worst_fifth": auroc(scores, worst(dice)) if len(dice) >= FEWEST else None,
        "rank_correlation": _correlation(scores, dice),
    }
    return ReviewRule(rule.temperature, threshold, rule.volumes, measured)


def usual_volumes(
    experiment: Experiment, cases: Sequence[PreparedCase], cache: PreparedCache
) -> dict[str, UsualVolume]:
    """Volumes of the structures in the references of ``cases``, on the grid the network sees."""
    found: dict[str, list[float]] = {name: [] for name in experiment.labels}
    for case in cases:
        prepared = open_prepared(case, cache)
        if prepared.label is not None:
            volumes = _volumes(experiment, prepared.label.numpy(), prepared.geometry.voxel_ml)
            for name, known in zip(experiment.labels, case.known[1:], strict=True):
                if known:
                    found[name].append(volumes[name])
    return {name: usual for name, values in found.items() if (usual := _usual(values)) is not None}


def _usual(volumes_ml: Sequence[float]) -> UsualVolume | None:
    logs = np.log([value for value in volumes_ml if value > 0])
    if len(logs) < FEWEST:
        return None
    middle = float(np.median(logs))
    spread = max(_LEAST_SPREAD, 1.4826 * float(np.median(np.abs(logs - middle))))
    return UsualVolume(math.exp(middle), spread, len(logs) / len(volumes_ml))


def _look(
    engine: Engine,
    experiment: Experiment,
    case: PreparedCase,
    cache: PreparedCache,
    calibration: Calibration,
) -> _Looked:
    prepared = open_prepared(case, cache)
    label = prepared.label
    if label is None:  # pragma: no cover - a case without one is not prepared for training
        return _Looked([], [[] for _ in TEMPERATURES], {})
    axis = stream_axis(prepared)
    classes = np.zeros(label.movedim(axis, 0).shape, dtype=np.uint8)
    plan = plan_windows(experiment)
    stream = stream_scores(
        engine,
        prepared.image,
        plan,
        stream_axis=axis,
        pairs=experiment.class_pairs,
    )
    sums = _Sums(calibration, torch.tensor(case.known))
    for plane in stream:
        scores, truth = plane.scores.cpu(), label.select(axis, plane.index)
        classes[plane.index] = scores.argmax(-1).numpy()
        some = telling(scores, logits=plan.gives_logits) | (truth > 0)
        sums.add(as_logits(scores[some], logits=plan.gives_logits), truth[some].long())
    sums.flush()
    dice = dice_by_class(classes, label.movedim(axis, 0).numpy(), experiment.class_count)
    pairs = zip(dice[1:], case.known[1:], strict=True)
    return _Looked(
        [math.nan if value is None or not told else value for value, told in pairs],
        [each.dice() for each in sums.promised],
        _volumes(experiment, classes, prepared.geometry.voxel_ml),
    )


class _Sums:
    """Of one case, at each temperature; many planes together, since most have few voxels that tell something.

    Where a structure was not contoured its voxels are drawn as background: its probability goes there.
    """

    def __init__(self, calibration: Calibration, known: Bool[Tensor, " L"]) -> None:
        self.promised = [PromisedDice(len(known)) for _ in TEMPERATURES]
        self._calibration = calibration
        self._known = known
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def add(self, z: Float32[Tensor, "L n"], truth: Int64[Tensor, " n"]) -> None:
        """Logits and drawn classes of voxels."""
        self._waiting.append((z, truth))
        if sum(len(some) for _, some in self._waiting) > _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Let all that was added count."""
        if not self._waiting:
            return
        logits, drawn = zip(*self._waiting, strict=True)
        self._waiting = []
        z, truth = torch.cat(logits, 1), torch.cat(drawn)
        self._calibration.voxels += len(truth)
        best = z.argmax(0)
        for index, temperature in enumerate(TEMPERATURES):
            q = torch.softmax(z / temperature, 0)
            self.promised[index].add(q, best)
            if not bool(self._known.all()):
                q[0] += q[~self._known].sum(0)
                q[~self._known] = 0
            self._calibration.add(index, q, truth)


def _judged(
    rule: ReviewRule, experiment: Experiment, looked: Sequence[_Looked], index: int
) -> tuple[list[float], list[float]]:
    """Score and mean Dice of each case that has one."""
    scores, dice = [], []
    for case in looked:
        told = [value for value in case.dice if not math.isnan(value)]
        if told:
            expected = dict(zip(experiment.labels, case.promised[index], strict=True))
            scores.append(review(rule, expected, case.volumes_ml).score)
            dice.append(float(np.mean(told)))
    return scores, dice


def _volumes(
    experiment: Experiment, classes: UInt8[np.ndarray, "I J K"], voxel_ml: float
) -> dict[str, float]:
    counts = np.bincount(classes.ravel(), minlength=experiment.class_count)
    return {name: float(n) * voxel_ml for name, n in zip(experiment.labels, counts[1:], strict=True)}


def _correlation(scores: Sequence[float], dice: Sequence[float]) -> float | None:
    """Spearman's, of the expected and the measured mean Dice."""
    if len(scores) < FEWEST or len(set(scores)) == 1 or len(set(dice)) == 1:
        return None
    return float(spearmanr([-score for score in scores], dice).statistic)
