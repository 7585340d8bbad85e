"""G24: what is lost (a structure, a mask, a case) never improves a headline number.

The references hold the structures in question: taking back what was invented is no loss, and may improve.
"""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from medseg.config.inference import EvaluationConfig
from medseg.evaluation import CaseScore, FailedCase, Summary, score_case, score_failure, summarise
from medseg.evaluation.case import LOWER_IS_BETTER
from medseg.io import write_volume
from medseg.report.folders import Comparison, report_on_folders
from medseg.volume import Geometry, Volume

pytestmark = pytest.mark.usefixtures("annotations_at_rest")
LABELS = {"a": 1, "b": 2}
CONFIG = EvaluationConfig(metrics=("dice", "iou", "nsd", "hd95", "assd"))
GEOMETRY = Geometry((14, 12, 8), np.diag([-1.0, -1.0, 2.5, 1.0]))


def volume(**boxes: tuple[slice, ...]) -> Volume:
    array = np.zeros(GEOMETRY.shape, dtype=np.uint8)
    for name, box in boxes.items():
        array[box] = LABELS[name]
    return Volume(array, GEOMETRY)


REFERENCE = volume(a=np.s_[1:6, 2:8, 2:6], b=np.s_[8:13, 2:8, 2:6])
PREDICTIONS = {
    "perfect": REFERENCE,
    "shifted": volume(a=np.s_[2:7, 3:9, 2:6], b=np.s_[8:13, 3:9, 3:7]),
    "elsewhere": volume(a=np.s_[8:13, 8:11, 6:8], b=np.s_[1:6, 8:11, 0:2]),
    "exchanged": volume(b=np.s_[1:6, 2:8, 2:6], a=np.s_[8:13, 2:8, 2:6]),
}
OTHERS: dict[str, tuple[CaseScore | FailedCase, ...]] = {
    "alone": (),
    "beside a perfect case": (score_case("other", REFERENCE, REFERENCE, labels=LABELS, config=CONFIG),),
    "beside a lost case": (
        score_failure(FailedCase("other", "other", "killed"), REFERENCE, labels=LABELS, config=CONFIG),
    ),
    "beside another scan of the patient, not contoured": (
        score_case(
            "other",
            PREDICTIONS["shifted"],
            REFERENCE,
            labels=LABELS,
            config=CONFIG,
            known={"a": False},
            patient="lost",
        ),
    ),
}
LOSSES = ("structure emptied", "mask emptied", "case failed")
FOUND_LOSSES = (*LOSSES, "other structure emptied")


def lose(how: str, prediction: Volume, reference: Volume) -> CaseScore | FailedCase:
    match how:
        case "structure emptied" | "other structure emptied":
            value = LABELS["a" if how == "structure emptied" else "b"]
            left = np.where(prediction.array == value, 0, prediction.array).astype(np.uint8)
            return scored(prediction.with_array(left), reference)
        case "mask emptied":
            return scored(prediction.with_array(np.zeros_like(prediction.array)), reference)
        case _:
            gone = FailedCase("lost", "lost", "killed")
            return score_failure(gone, reference, labels=LABELS, config=CONFIG)


def scored(prediction: Volume, reference: Volume, case: str = "lost", patient: str = "") -> CaseScore:
    return score_case(case, prediction, reference, labels=LABELS, config=CONFIG, patient=patient)


def together(cases: tuple[CaseScore | FailedCase, ...]) -> Summary:
    scores = [case for case in cases if isinstance(case, CaseScore)]
    failed = [case for case in cases if isinstance(case, FailedCase)]
    return summarise(scores, failed, resamples=10)


def require_no_better(worse: Summary, better: Summary) -> None:
    """Means over structures, and of each structure, with the same cases and structures behind them."""
    assert worse.cases["expected"] == better.cases["expected"]
    before = {"": better.mean, **{each.structure: each.metrics for each in better.structures}}
    after = {"": worse.mean, **{each.structure: each.metrics for each in worse.structures}}
    for name, metric in product(before, CONFIG.metrics):
        old, new = before[name][metric], after.get(name, {}).get(metric)
        if old.mean is None:
            continue
        assert new is not None and new.mean is not None, (name, metric)
        assert new.n == old.n, (name, metric)
        change = new.mean - old.mean
        assert change >= -1e-9 if metric in LOWER_IS_BETTER else change <= 1e-9, (name, metric)


@pytest.mark.row("G24")
@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_loss_never_improves_a_mean(how: str, others: str, prediction: str) -> None:
    full = together((scored(PREDICTIONS[prediction], REFERENCE), *OTHERS[others]))
    less = together((lose(how, PREDICTIONS[prediction], REFERENCE), *OTHERS[others]))
    require_no_better(less, full)
    lead = less.structures[0].metrics["dice"]
    assert lead.mean is not None and full.structures[0].metrics["dice"].mean is not None
    if prediction == "perfect":
        assert lead.mean < full.structures[0].metrics["dice"].mean, "what is lost is seen"


@pytest.mark.row("G24")
@pytest.mark.parametrize(
    "others", ["alone", "beside a perfect case", "beside a lost case", "beside a poor case"]
)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_missing_file_never_improves_a_mean(tmp_path: Path, others: str, prediction: str) -> None:
    """Through the folders that ``medseg evaluate`` takes; something else has to be there to be paired."""
    references, predictions = tmp_path / "references", tmp_path / "predictions"
    beside = {"beside a perfect case": REFERENCE, "beside a poor case": PREDICTIONS["elsewhere"]}.get(others)
    write_volume(REFERENCE, references / "lost.nii.gz")
    write_volume(PREDICTIONS[prediction], predictions / "lost.nii.gz")
    write_volume(REFERENCE, references / "anchor.nii.gz")
    write_volume(PREDICTIONS["shifted"], predictions / "anchor.nii.gz")
    if others != "alone":
        write_volume(REFERENCE, references / "other.nii.gz")
    if beside is not None:
        write_volume(beside, predictions / "other.nii.gz")
    comparison = Comparison(LABELS, CONFIG)
    full = report_on_folders(predictions, references, tmp_path / "full", comparison)
    (predictions / "lost.nii.gz").unlink()
    less = report_on_folders(predictions, references, tmp_path / "less", comparison)
    require_no_better(less, full)
    assert less.cases["failed"] == full.cases["failed"] + 1


@st.composite
def cohorts(draw: st.DrawFn) -> list[tuple[Volume, Volume]]:
    """One or two cases of noise or blocks; predictions hold only what their references hold."""
    pairs = []
    for _ in range(draw(st.integers(1, 2))):
        shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
        spacing = draw(st.tuples(*[st.sampled_from((0.4, 1.0, 3.3))] * 3))
        random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        kinds = draw(st.lists(st.sampled_from((1, 2)), max_size=2))
        coarse = tuple(-(-n // draw(st.sampled_from((1, 2)))) for n in shape)
        maps = []
        for values in ((0, *kinds), (0, 1, 2)):
            blocks = random.choice(values, size=coarse).astype(np.uint8)
            for axis in range(3):
                blocks = np.repeat(blocks, 2, axis=axis)
            maps.append(blocks[tuple(slice(n) for n in shape)])
        maps[1][~np.isin(maps[1], maps[0])] = 0
        geometry = Geometry(shape, np.diag([*spacing, 1.0]))
        pairs.append((Volume(maps[1], geometry), Volume(maps[0], geometry)))
    return pairs


@pytest.mark.long
@pytest.mark.row("G24")
@pytest.mark.parametrize("part", range(5))
def test_no_loss_improves_any_mean(part: int, counts: Callable[[int], None]) -> None:
    """Each cohort in four examples: one structure or the other, the mask, or the case is lost."""
    counts(4 * 50)

    @settings(max_examples=50, suppress_health_check=[HealthCheck.filter_too_much])
    @given(cohorts())
    def losing(pairs: list[tuple[Volume, Volume]]) -> None:
        prediction, reference = pairs[0]
        assume((reference.array > 0).any())
        others = tuple(scored(*pair, "other", patient="lost") for pair in pairs[1:])  # no interval: quicker
        full = together((scored(prediction, reference), *others))
        for lost in (lose(how, prediction, reference) for how in FOUND_LOSSES):
            require_no_better(together((lost, *others)), full)

    losing()
