import numpy as np
import pytest
from scipy import ndimage

from medseg.data.phantom import IS_SIMULATION_NOTE, PHANTOM_LABELS, PhantomPatient, phantom_patient
from medseg.data.phantom.acquisition import plan_scan
from medseg.data.phantom.patient import draw_traits

COARSEN = 2.0
PATIENTS = (0, 7, 12)
VOLUME_ML = {
    "prostate": (18, 95),
    "bladder": (50, 520),
    "rectum": (30, 180),
    "femoral_head_left": (35, 85),
    "femoral_head_right": (35, 85),
}


class Case:
    """One coarse patient, and where its organs are in the world."""

    def __init__(self, index: int) -> None:
        self.patient: PhantomPatient = phantom_patient(2024, index, coarsen=COARSEN)
        self.image, self.label = self.patient.image.array, self.patient.label.array
        self.geometry = self.patient.image.geometry

    def mask(self, name: str) -> np.ndarray:
        return self.label == PHANTOM_LABELS[name]

    def points_mm(self, name: str) -> np.ndarray:
        return self.geometry.to_world(np.argwhere(self.mask(name)).astype(np.float64))

    def centre_mm(self, name: str) -> np.ndarray:
        return self.points_mm(name).mean(axis=0)

    def core_hu(self, name: str) -> float:
        core = ndimage.distance_transform_edt(self.mask(name), self.geometry.spacing_mm)
        return float(self.image[core > 0.6 * core.max()].mean())


@pytest.fixture(scope="module", params=PATIENTS, ids=lambda n: f"patient_{n}")
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_same_arguments_give_the_same_bytes_and_others_do_not() -> None:
    first, again = (phantom_patient(5, 1, coarsen=6.0) for _ in range(2))
    assert first.image.array.tobytes() == again.image.array.tobytes()
    assert first.label.array.tobytes() == again.label.array.tobytes()
    assert first.image.geometry == again.image.geometry
    assert len({draw_traits(5, 1), draw_traits(6, 1), draw_traits(5, 2)}) == 3


def test_types_grid_and_values(case: Case) -> None:
    assert case.image.dtype == np.int16
    assert case.label.dtype == np.uint8
    assert case.patient.label.geometry == case.geometry
    assert set(np.unique(case.label)) == set(range(6))
    assert case.image.min() >= -1024
    extent = np.sort(np.array(case.geometry.shape) * case.geometry.spacing_mm)
    assert 140 <= extent[0] <= 205
    assert 255 <= extent[1] <= 345
    assert 355 <= extent[2] <= 445


def test_each_structure_is_one_piece_of_human_size_inside_the_image(case: Case) -> None:
    for name, (low, high) in VOLUME_ML.items():
        mask = case.mask(name)
        pieces, _ = ndimage.label(mask)
        sizes = np.bincount(pieces.ravel())[1:]
        assert sizes.max() / sizes.sum() > 0.999, name
        assert low < mask.sum() * case.geometry.voxel_ml < high, name
        for axis in range(3):
            touched = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
            assert touched[0] > 0, name
            assert touched[-1] < mask.shape[axis] - 1, name


def test_structures_lie_where_they_do_in_people(case: Case) -> None:
    prostate, bladder, rectum = (case.centre_mm(name) for name in ("prostate", "bladder", "rectum"))
    left, right = case.centre_mm("femoral_head_left"), case.centre_mm("femoral_head_right")
    assert 150 < right[0] - left[0] < 210  # x grows to the patient's right
    assert left[0] < prostate[0] < right[0]
    assert prostate[2] + 20 < bladder[2]
    heights = case.points_mm("prostate")[:, 2]
    behind = case.points_mm("rectum")
    level = behind[(behind[:, 2] > heights.min()) & (behind[:, 2] < heights.max())]
    assert level[:, 1].mean() + 15 < prostate[1]
    assert rectum[1] < bladder[1] - 25
    assert abs(left[2] - right[2]) < 20


def test_contrasts_are_those_of_pelvic_ct(case: Case) -> None:
    prostate, urine = case.core_hu("prostate"), case.core_hu("bladder")
    assert 28 < prostate < 58
    assert -10 < urine < 20
    assert case.core_hu("femoral_head_left") > 120
    shell = ndimage.binary_dilation(case.mask("prostate"), iterations=2) & (case.label == 2)
    wall = float(case.image[shell].mean())
    assert abs(prostate - wall) < 30  # the bladder neck is not given away by its grey value
    assert case.image[ndimage.binary_erosion(case.image < -700, iterations=4)].mean() < -900


def test_noise_is_that_of_a_soft_tissue_scan(case: Case) -> None:
    urine = ndimage.binary_erosion(case.mask("bladder"), iterations=4)
    assert urine.sum() > 50
    assert 10 < case.image[urine].std() < 28
    between = np.diff(case.image.astype(np.float64), axis=0)[urine[1:] & urine[:-1]].std()
    assert between < 1.25 * case.image[urine].std()  # independent noise would give 1.41


def test_patients_differ() -> None:
    traits = [draw_traits(2024, n) for n in range(30)]
    assert len({t.rectum.filling for t in traits}) == 4
    bladders = [float(np.prod(t.bladder.half_axes)) * 4.19 / 1000 for t in traits]
    assert min(bladders) < 110
    assert max(bladders) > 260
    prostates = [float(np.prod(t.prostate.half_axes)) * 4.19 / 1000 for t in traits]
    assert min(prostates) < 30
    assert max(prostates) > 55
    scans = [plan_scan(2024, n, t) for n, t in enumerate(traits)]
    assert len({scan.orientation for scan in scans}) >= 4
    oblique = [np.count_nonzero(scan.geometry.affine[:3, :3]) > 3 for scan in scans]
    assert 2 <= sum(oblique) <= 15


def test_the_note_says_that_it_is_a_simulation() -> None:
    assert "simulation" in IS_SIMULATION_NOTE
