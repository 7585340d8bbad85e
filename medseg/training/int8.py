"""A trained model for eight-bit integers: calibrated on training cases, judged on validation cases."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from medseg.config import DataConfig, Experiment
from medseg.data import Case, find_cases, load_case, split_cases
from medseg.errors import Code, CohortError
from medseg.inference import plan_windows
from medseg.inference.choice import EngineChoice, choose_engine
from medseg.inference.engines import build_engines
from medseg.inference.ensemble import Ensemble, together
from medseg.inference.quantise import calibrate
from medseg.inference.sliding import pad_to_window
from medseg.inference.windows import WindowPlan, window_grid
from medseg.modelfile import ModelFile, load_networks
from medseg.training.validate import mean_dice
from medseg.transforms import Fitted, Prepared, Preprocessing

Progress = Callable[[str, int, int], None]

CALIBRATION_CASES = 8
WINDOWS_PER_CASE = 4

Known = tuple[bool, ...]


def to_int8(model: ModelFile, data: DataConfig, progress: Progress | None = None) -> ModelFile:
    """``model`` with the ranges that int8 needs, and what int8 costs: Dice of both precisions.

    Args:
        data: the cohort, parted as for training: its training cases calibrate, its validation cases judge.

    Raises:
        CohortError: a case cannot be used, or none is there to judge by.
        ModelFileError: the network is not for OpenVINO.
    """
    experiment = model.experiment.model_copy(update={"data": data})
    split = split_cases(find_cases(data, tuple(experiment.labels)), data)
    if not split.validation or not split.train:
        raise CohortError(
            Code.TOO_FEW_CASES,
            f"{data.cohort}: {len(split.train)} training and {len(split.validation)} validation case(s), one "
            "of each is needed: set data.folds to 2 or more, or add patients",
        )
    chosen = split.train[:: -(-len(split.train) // CALIBRATION_CASES)]
    windows = [
        window
        for prepared, _ in _prepared(model, experiment, chosen, _named(progress, "calibrating"))
        if prepared.label is not None
        for window in busiest_windows(prepared.image, prepared.label, plan_windows(experiment))
    ]
    ranges = [
        {name: [low, high] for name, (low, high) in calibrate(network, windows).items()}
        for network in load_networks(model)
    ]
    quantised = replace(model, quantisation={"ranges": ranges})
    dice = {
        precision: _dice(quantised, experiment, split.validation, precision, progress)
        for precision in ("fp32", "int8")
    }
    measured = {"cases": len(split.validation), "calibration_cases": len(chosen), "dice": dice}
    return replace(quantised, quantisation={"ranges": ranges, "measured": measured})


def busiest_windows(image: Tensor, label: Tensor, plan: WindowPlan) -> list[Tensor]:
    """Windows (1, C, I, J, K) as they are cut in use: those with most foreground, and one with least."""
    image, _ = pad_to_window(image, plan)
    marked = pad_to_window(label[None], replace(plan, padding="zero"))[0][0]
    i, j, k = plan.size
    shape = (image.shape[1], image.shape[2], image.shape[3])
    starts = [start for _, group in window_grid(shape, plan, 2) for start in group]
    starts.sort(
        key=lambda at: -int((marked[at[0] : at[0] + i, at[1] : at[1] + j, at[2] : at[2] + k] > 0).sum())
    )
    kept = starts if len(starts) <= WINDOWS_PER_CASE else [*starts[: WINDOWS_PER_CASE - 1], starts[-1]]
    return [image[None, :, a : a + i, b : b + j, c : c + k].clone() for a, b, c in kept]


def _dice(
    model: ModelFile, experiment: Experiment, cases: Sequence[Case], precision: str, progress: Progress | None
) -> dict[str, float]:
    choice: EngineChoice = choose_engine("openvino", "cpu", precision)
    plan = plan_windows(experiment)
    engine = together(build_engines(model, choice, plan.size), experiment.class_count)
    if isinstance(engine, Ensemble):
        engine = engine.averaging(logits=plan.average_logits)
    told = _named(progress, f"judging {precision}")
    return mean_dice(engine, experiment, _prepared(model, experiment, cases, told))


def _named(progress: Progress | None, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(what, done, total) if progress is not None else None


def _prepared(
    model: ModelFile,
    experiment: Experiment,
    cases: Sequence[Case],
    progress: Callable[[int, int], None],
) -> Iterator[tuple[Prepared, Known]]:
    preprocessing = Preprocessing(experiment.preprocessing, Fitted.from_json(model.fitted))
    for done, case in enumerate(cases, start=1):
        loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
        if loaded.label is None:
            raise CohortError(
                Code.NO_LABEL,
                f"case {case.id}: no reference label, int8 is judged by it: add it, or remove the case",
            )
        yield preprocessing(loaded.images, loaded.label), tuple(loaded.known)
        progress(done, len(cases))
