"""Slices resampled a few at a time are the scan resampled as a whole."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.config.preprocessing import PreprocessingConfig
from medseg.transforms import Fitted, Preprocessing, upright
from medseg.transforms.resample import Respace
from medseg.transforms.upright import Upright
from medseg.volume import Geometry, Volume

AS_THEY_ARE = {"intensity": {"kind": "linear"}}


@given(
    axes=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([1, -1])] * 3),
    spacing=st.tuples(*[st.sampled_from([0.5, 1.1, 2.0, 3.7])] * 3),
    order=st.sampled_from("CF"),
    orientation=st.sampled_from(["RAS", "LPS", "LAI"]),
)
def test_block_by_block_equals_the_whole(
    axes: list[int], signs: tuple, spacing: tuple, order: str, orientation: str
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, axes] * np.array(signs) * [0.8, 1.1, 2.0]
    affine[:3, 3] = 5, -7, 11
    random = np.random.default_rng(3)
    array = np.asarray(random.integers(-1000, 1000, (19, 13, 16)), dtype=np.int16, order=order)
    scan = Volume(array, Geometry(array.shape, affine))
    label = scan.with_array((array > 300).astype(np.uint8) + (array > 700))
    config = PreprocessingConfig.model_validate({**AS_THEY_ARE, "orientation": orientation})
    before = config.model_copy(update={"normalise": "before"})  # the scan as a whole, by TorchIO
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upright, "BLOCK", 3)
        found = Preprocessing(config, Fitted(spacing))([scan, scan], label)
    expected = Preprocessing(before, Fitted(spacing))([scan, scan], label)
    assert found.geometry.shape == expected.geometry.shape
    np.testing.assert_allclose(found.geometry.affine, expected.geometry.affine, atol=1e-9)
    torch.testing.assert_close(found.image, expected.image, atol=2e-3, rtol=0)
    assert torch.equal(found.label, expected.label)


def test_no_more_than_a_block_is_turned_into_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.zeros((8, 9, 300), dtype=np.int16, order="F")
    seen, plain = [], upright.along_each

    def counted(block: torch.Tensor, parts: tuple) -> torch.Tensor:
        seen.append(block.shape[1])
        return plain(block, parts)

    monkeypatch.setattr(upright, "along_each", counted)
    scan = Volume(array, Geometry(array.shape, np.eye(4)))
    found = Upright(scan.geometry, "RAS", Respace((1.0, 1.0, 2.0))).images([scan])
    assert found.shape == (1, 8, 9, 150)
    assert max(seen) <= 2 * upright.BLOCK + 4
