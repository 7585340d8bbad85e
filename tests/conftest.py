"""For all tests: annotations are executed, real scans found or tests skipped, the user's cache left alone."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

_first = "PYTEST_XDIST_WORKER" not in os.environ  # workers of pytest-xdist share what the first process made
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tests share few cores
os.environ.pop("MEDSEG_MODEL", None)
if _first:
    os.environ["MEDSEG_CACHE"] = tempfile.mkdtemp(prefix="medseg-test-cache-")  # never the user's

import jaxtyping  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from beartype import BeartypeConf, beartype  # noqa: E402
from hypothesis import settings  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

_typecheck = ModuleType("medseg_typecheck")  # the hook wants the name of a module
_typecheck.__dict__["check"] = beartype(
    conf=BeartypeConf(is_pep484_tower=True)
)  # 1 is fine where a float is asked
sys.modules["medseg_typecheck"] = _typecheck
_hook = install_import_hook("medseg", "medseg_typecheck.check")  # before medseg is imported

from support.warm_start import WarmStart  # noqa: E402

pytest_plugins = ["support.rows"]

settings.register_profile("medseg", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("medseg")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests first: begun last, one would run on while the other processes wait."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def _cache_goes_with_the_session() -> Iterator[None]:
    yield
    if _first:
        shutil.rmtree(os.environ["MEDSEG_CACHE"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans: ``$MEDSEG_TEST_DATA``, else ``../shared/data`` beside the repository."""
    told = os.environ.get("MEDSEG_TEST_DATA")
    folder = Path(told) if told else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}; MEDSEG_TEST_DATA can name their folder")
    return folder


@pytest.fixture(scope="module")
def annotations_at_rest() -> Iterator[None]:
    """Types and shapes are not looked at, which takes up to half of the time of small work done very often.

    For files whose code other tests run with its annotations executed.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        yield


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmStart]:
    """The command line in processes that need not import anything; real starts are in test_g29."""
    with closing(WarmStart(tmp_path_factory.mktemp("warm") / "told.txt")) as warm:
        yield warm


TINY_SHAPE = (24, 20, 16)


def _tiny_patient(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A CT-like image in HU (int16) and its label: 1 a bright ball, 2 a dark one, in a soft body in air."""
    random = np.random.default_rng(seed)
    axes = [np.arange(n) - (n - 1) / 2 for n in TINY_SHAPE]
    i, j, k = np.meshgrid(*axes, indexing="ij")
    image = np.full(TINY_SHAPE, -1000.0)
    image[(i / 11) ** 2 + (j / 9) ** 2 < 1] = 20
    label = np.zeros(TINY_SHAPE, dtype=np.uint8)
    shift = random.uniform(-1, 1, size=3)
    first = (i + 4 - shift[0]) ** 2 + (j - shift[1]) ** 2 + (k - shift[2]) ** 2 < random.uniform(
        3.2, 4.0
    ) ** 2
    second = (i - 4 - shift[0]) ** 2 + (j - shift[1]) ** 2 + (k + shift[2]) ** 2 < random.uniform(
        3.2, 4.0
    ) ** 2
    image[first], image[second] = 150, -120
    label[first], label[second] = 1, 2
    return (image + random.normal(0, 15, size=TINY_SHAPE)).round().astype(np.int16), label


@pytest.fixture(scope="session")
def write_tiny_cohort() -> Callable[..., Path]:
    """Writes six patient folders ``p0`` to ``p5``: ``ct.nii.gz`` and ``label.nii.gz`` (24x20x16 of 2x2x3 mm).

    The first structure is a bright ball (150 HU), the second a dark one (-120 HU): any network learns them in
    a few steps. ``values`` are theirs in the label files.
    """
    from medseg.io import write_volume
    from medseg.volume import Geometry, Volume

    def write(cohort: Path, values: tuple[int, int] = (1, 2)) -> Path:
        for patient in range(6):
            folder = cohort / f"p{patient}"
            folder.mkdir(parents=True)
            affine = np.diag([-2.0, -2.0, 3.0, 1.0])  # LPS, as scanners store it
            affine[:3, 3] = (20.0 + patient, 15.0, -100.0)
            geometry = Geometry(TINY_SHAPE, affine)
            image, label = _tiny_patient(patient)
            write_volume(Volume(image, geometry), folder / "ct.nii.gz")
            write_volume(Volume(np.array([0, *values])[label], geometry), folder / "label.nii.gz")
        return cohort

    return write


@pytest.fixture
def tiny_cohort(tmp_path: Path, write_tiny_cohort: Callable[..., Path]) -> Path:
    """The six tiny patients with label values 1 and 2."""
    return write_tiny_cohort(tmp_path / "tiny_cohort")
