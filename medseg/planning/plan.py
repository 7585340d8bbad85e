"""From a fingerprint and a budget to an experiment, each value with its reason."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medseg.config import DataConfig, Experiment, parse_experiment
from medseg.config.model import UNetConfig
from medseg.errors import Code, ConfigError, EnvironmentProblem
from medseg.models.build import size_multiples
from medseg.models.layout import plan_layout
from medseg.planning import rules
from medseg.planning.choices import batch_of, geometry, learned
from medseg.planning.cost import NetworkCost, network_cost, training_bytes, unet_cost
from medseg.planning.fingerprint import Fingerprint
from medseg.planning.rules import Chosen

LADDER_3D = (
    (8, 32), (12, 32), (16, 32), (16, 40), (16, 48), (16, 64), (24, 64), (24, 80), (32, 80), (32, 96),
    (32, 112), (32, 128), (32, 160),
)  # fmt: skip
"""Feature maps of the first stage, and the edge of a cube of as many voxels as the patch has. Each step costs
up to twice the one before; width first, to the 16 that small networks need, then patch and width in turn."""

LADDER_2D = ((8, 96), (12, 96), (16, 128), (16, 192), (24, 192), (24, 256), (32, 256), (32, 384), (32, 512))
"""The same with the edge of a square."""

FEWEST_STEPS = 3000
"""A larger network or patch is not worth fewer steps than this within the time."""
MOST_STEPS = 250_000
"""As many as nnU-Net's 1000 epochs; longer brings nothing."""
FOR_STEPS = 0.85
"""Share of the time that is left for steps, beside validation."""
VALIDATIONS = 12

Time = Callable[[Experiment], float]
"""Seconds of one step of an experiment, measured."""


@dataclass(frozen=True)
class Budget:
    """What training may take: bytes of ``memory`` (of the card on a GPU, else RAM) and hours by the clock."""

    memory: int
    hours: float
    device: str
    precision: str
    cores: int


@dataclass(frozen=True)
class Plan:
    """``reasons`` by dotted key. ``steps`` are those expected within the budget, one of ``step_seconds``."""

    experiment: Experiment
    raw: dict[str, Any]
    reasons: dict[str, str]
    memory: int
    step_seconds: float
    steps: int


@dataclass(frozen=True)
class Subject:
    """What is planned for."""

    name: str
    found: Fingerprint
    data: DataConfig


@dataclass(frozen=True)
class _Rung:
    experiment: Experiment
    choices: dict[str, Chosen]
    cost: NetworkCost

    @property
    def work(self) -> float:
        """Of a step: forward and backward multiply three times as much."""
        return 3.0 * self.experiment.training.batch_size * self.cost.multiplications


def make_plan(subject: Subject, budget: Budget, time: Time | None = None) -> Plan:
    """The most ambitious network and patch that memory allows and that make ``FEWEST_STEPS`` in the time.

    Args:
        time: measures a step; without it a common speed is assumed.

    Raises:
        EnvironmentProblem: not even the smallest fits into the memory.
    """
    rungs = _rungs(subject, budget)
    fitting = [rung for rung in rungs if _bytes(rung, budget) <= budget.memory]
    if not fitting:
        raise EnvironmentProblem(
            Code.MEMORY,
            f"{subject.name}: the smallest network takes {_bytes(rungs[0], budget) / 2**30:.1f} GiB to "
            f"train, {budget.memory / 2**30:.1f} GiB are allowed: allow more by --max-ram or --max-vram",
        )
    seconds = _Seconds(0.0, 1 / _assumed_speed(budget)) if time is None else _Seconds.measured(fitting, time)
    chosen = _most_ambitious(fitting, seconds, budget)
    if time is not None:  # the line is rough: the chosen one itself decides
        seconds = seconds.through(chosen, time(chosen.experiment))
        chosen = _most_ambitious(fitting, seconds, budget)
    return _finished(subject, chosen, budget, seconds.of(chosen))


@dataclass(frozen=True)
class _Seconds:
    """Of a step: what every step takes, and a time for each multiplication."""

    overhead: float
    each: float

    @classmethod
    def measured(cls, rungs: list[_Rung], time: Time) -> "_Seconds":
        """From the smallest network, and from one of a quarter of the ladder."""
        small, larger = rungs[0], rungs[len(rungs) // 4]
        first, second = time(small.experiment), time(larger.experiment)
        if larger.work <= small.work or second <= first:
            return cls(0.0, second / larger.work)
        each = (second - first) / (larger.work - small.work)
        return cls(max(0.0, first - each * small.work), each)

    def through(self, rung: _Rung, seconds: float) -> "_Seconds":
        """As steep as that ``rung`` takes ``seconds``."""
        overhead = min(self.overhead, seconds / 2)
        return _Seconds(overhead, (seconds - overhead) / rung.work)

    def of(self, rung: _Rung) -> float:
        return self.overhead + self.each * rung.work


def _most_ambitious(rungs: list[_Rung], seconds: _Seconds, budget: Budget) -> _Rung:
    most = 3600 * budget.hours * FOR_STEPS / FEWEST_STEPS
    return ([rungs[0]] + [rung for rung in rungs[1:] if seconds.of(rung) <= most])[-1]


def _assumed_speed(budget: Budget) -> float:
    """Multiplications a second that networks like these reach."""
    return 1e13 if budget.device == "cuda" else 1e10 * budget.cores


def _bytes(rung: _Rung, budget: Budget) -> int:
    return training_bytes(rung.cost, rung.experiment.training.batch_size, budget.precision, budget.device)


def _rungs(subject: Subject, budget: Budget) -> list[_Rung]:
    """The ladder for this cohort, without steps that change nothing."""
    found = subject.found
    cropped, size_mm = rules.crop(found)
    flat = rules.is_flat(found.spacing_mm, size_mm)
    ladder = LADDER_3D if flat is None else LADDER_2D
    rungs: list[_Rung] = []
    for base, edge in ladder:
        choices = geometry(found, size_mm, flat, base, edge)
        if cropped is not None:
            choices["preprocessing.crop"] = cropped
        choices |= learned(found, subject.data, choices, flat)
        for batch in (2, 4, 8) if budget.device == "cuda" else ((2,) if flat is None else (8,)):
            choices = choices | {"training.batch_size": batch_of(batch, choices, found)}
            try:
                experiment = parse_experiment(_raw(subject, choices), "the plan")
                cost = _cost(experiment)
            except ConfigError:
                continue  # a patch that suits no network is no candidate
            if not rungs or rungs[-1].experiment != experiment:
                rungs.append(_Rung(experiment, choices, cost))
    if not rungs:
        raise ConfigError(
            Code.CONFIG_NETWORK,
            f"{subject.name}: scans of {'x'.join(f'{s:.3g}' for s in size_mm)} mm at "
            f"{'x'.join(f'{s:.3g}' for s in found.spacing_mm)} mm are too small for a network: write the "
            "configuration by hand (see configs/)",
        )
    # a larger network or patch before a larger batch
    return sorted(rungs, key=lambda rung: (rung.cost.multiplications, rung.experiment.training.batch_size))


def _cost(experiment: Experiment) -> NetworkCost:
    """By arithmetic, for the plain U-Net that a plan has.

    Raises:
        ConfigError: the patch does not suit the network.
    """
    model, patch = experiment.model, experiment.sampling.patch_size
    if not isinstance(model, UNetConfig):
        return network_cost(experiment)
    size_multiples(model, patch)  # refuses what the network cannot take
    axes = [axis for axis in range(3) if model.spatial_dims == 3 or patch[axis] > 1]
    size = [patch[axis] for axis in axes]
    layout = plan_layout(size, "ijk"[: len(size)], len(model.channels), model.kernel, model.strides)
    return unet_cost(patch, layout, model.channels, experiment.channel_count, experiment.class_count)


def _raw(subject: Subject, choices: dict[str, Chosen]) -> dict[str, Any]:
    """The configuration as its file holds it."""
    data, structures = subject.data, subject.found.structures
    raw: dict[str, Any] = {"name": subject.name, "labels": {one.name: one.value for one in structures}}
    raw["data"] = data.model_dump(mode="json", include={"cohort", "channels", "label"}, exclude_none=True)
    if data.reading != type(data.reading)():
        raw["data"]["reading"] = data.reading.model_dump(mode="json", exclude_defaults=True)
    raw |= {"preprocessing": {}, "augmentation": [], "sampling": {}, "model": {"kind": "unet"}}
    raw["training"] = {
        "loss": "dice_ce",
        "optimizer": {"kind": "adamw", "weight_decay": 0.01},
        "learning_rate": 0.01,
        "schedule": "cosine",
        "stop": {"minutes": 60},
    }
    for key, chosen in choices.items():
        *parents, last = key.split(".")
        if last.isdecimal():
            continue
        node = raw
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = plain(chosen.value)
    return raw


def plain(value: Any) -> Any:
    """Tuples as lists, as YAML has them."""
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value


def _finished(subject: Subject, rung: _Rung, budget: Budget, seconds: float) -> Plan:
    """The schedule, now that the time of a step is known."""
    steps = min(MOST_STEPS, int(3600 * budget.hours * FOR_STEPS / seconds))
    choices = dict(rung.choices)
    minutes = round(60 * budget.hours, 1)
    stop: dict[str, Any] = {"minutes": minutes}
    choices["training.stop"] = Chosen(stop, f"about {steps} steps of {seconds:.2g} s; the schedule is fitted")
    choices["training.ema"] = Chosen(0.99 if steps < 5000 else 0.999, "averages the last weights")
    choices["training.steps_per_epoch"] = Chosen(50, "an epoch is only a unit here")
    every = max(1, round(steps / 50 / VALIDATIONS))
    choices["training.validate_every"] = Chosen(every, f"epochs; about {VALIDATIONS} times in all")
    if steps == MOST_STEPS:
        stop["epochs"] = MOST_STEPS // 50
    raw = _raw(subject, choices)
    return Plan(
        experiment=parse_experiment(raw, "the plan"),
        raw=raw,
        reasons={key: chosen.reason for key, chosen in choices.items() if chosen.reason},
        memory=_bytes(rung, budget),
        step_seconds=seconds,
        steps=steps,
    )
