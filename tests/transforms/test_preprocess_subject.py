"""Preprocessing inside a pipeline of TorchIO gives what training and inference see."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torchio as tio

from medseg.config.preprocessing import PreprocessingConfig
from medseg.data.subject import IMAGE, LABEL, geometry_of, to_subject
from medseg.transforms import Fitted, Preprocessing
from medseg.transforms.preprocess_subject import PreprocessSubject
from medseg.volume import Geometry, Volume

AFFINE = np.array([[0, -1.2, 0, 3], [-1.1, 0, 0, 4], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("settings", [{}, {"resampling": "cubic", "normalise": "before"}])
@pytest.mark.parametrize("labelled", [True, False])
def test_same_numbers_in_a_compose(settings: dict[str, str], labelled: bool) -> None:
    rng = np.random.default_rng(0)
    geometry = Geometry((9, 12, 7), AFFINE)
    images = [Volume(rng.normal(size=(9, 12, 7)).astype(np.float32), geometry) for _ in range(2)]
    label = Volume(rng.integers(0, 3, (9, 12, 7)).astype(np.uint8), geometry) if labelled else None
    config = PreprocessingConfig.model_validate(
        {"spacing_mm": [1.5, 1.0, 2.0], "intensity": {"kind": "zscore"}, **settings}
    )
    fitted = Fitted((1.5, 1.0, 2.0))
    expected = Preprocessing(config, fitted)(images, label)
    found = tio.Compose([PreprocessSubject(config, fitted)])(to_subject(images, label))
    assert torch.equal(found[IMAGE].data, expected.image)
    assert geometry_of(found[IMAGE]) == expected.geometry
    assert (LABEL in found) == labelled
    if expected.label is not None:
        assert torch.equal(found[LABEL].data[0], expected.label)
        assert geometry_of(found[LABEL]) == expected.geometry


def test_inference_loads_no_torchio() -> None:
    """It takes a second and 100 MiB."""
    modules = "medseg.batch.infer, medseg.inference.openvino_engine"
    code = f"import sys, {modules}; sys.exit('torchio' in sys.modules or 'SimpleITK' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
