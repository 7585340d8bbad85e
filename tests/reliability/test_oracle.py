"""The oracle itself answers as promised, before others are judged by it."""

from pathlib import Path

import numpy as np

from medseg.inference import Segmenter
from medseg.volume import Geometry, Volume
from support.oracle import CODE_STEP, write_oracle


def test_the_oracle_gives_each_voxel_its_code(tmp_path: Path) -> None:
    segmenter = Segmenter.load(write_oracle(tmp_path / "oracle.safetensors", structures=3))
    classes = np.random.default_rng(0).integers(0, 4, (20, 17, 23))
    scan = Volume((classes * CODE_STEP).astype(np.int16), Geometry((20, 17, 23), np.diag([2.0, 2, 2, 1])))
    assert np.array_equal(segmenter(scan).array, classes)
