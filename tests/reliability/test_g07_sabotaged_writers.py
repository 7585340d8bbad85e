"""Row G07: a writer sabotaged 12 ways; reading back before the name is given catches each."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from medseg.errors import Code, EnvironmentProblem
from medseg.io import read_label, write_volume
from medseg.io import write as writing
from medseg.volume import Geometry, Volume
from support.sabotage import SABOTAGES, Sabotage

AFFINE = np.array([[-0.8, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
LABELS = np.array([0, 1, 205, 300], dtype=np.uint16)


def labels(seed: int) -> Volume:
    array = LABELS[np.random.default_rng(seed).integers(0, 4, (8, 8, 6))]
    return Volume(array, Geometry(array.shape, AFFINE))


def test_there_are_twelve():
    assert len(SABOTAGES) == 12


@pytest.mark.row("G07")
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.what)
def test_sabotage_is_caught(tmp_path: Path, monkeypatch, sabotage: Sabotage):
    path = tmp_path / f"mask{sabotage.suffix}"
    write_volume(labels(0), path)
    before = path.read_bytes()
    told: list[Path] = []
    for name in ("write_nifti", "write_itk"):
        real = getattr(writing, name)

        def spoilt(volume: Volume, where: Path, real=real) -> None:
            told.append(where)
            sabotage.spoil(real, volume, where)

        monkeypatch.setattr(writing, name, spoilt)
    with pytest.raises(EnvironmentProblem) as caught:
        write_volume(labels(1), path)
    assert caught.value.code == Code.READ_BACK and str(path) in str(caught.value)
    assert len(told) == 1 and told[0] != path  # it did its work, and never under the final name
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_what_is_written_as_given_is_accepted(tmp_path, suffix):
    path = tmp_path / f"mask{suffix}"
    assert write_volume(labels(1), path) == sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(read_label(path).array, labels(1).array)
