"""A limit to the graphics card's memory: refused before the work, or kept."""

from pathlib import Path

import pytest
import torch

from medseg.batch import BatchModel
from medseg.errors import Code, EnvironmentProblem, UsageError
from medseg.inference import Segmenter
from medseg.inference.vram import limit_vram
from support.oracle import write_oracle


def test_a_window_that_cannot_fit_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    path = write_oracle(tmp_path / "oracle.safetensors", structures=3)
    segmenter = Segmenter.load(path, device="cpu", engine="torch")
    segmenter.require_vram(None)
    segmenter.require_vram(2**40)
    with pytest.raises(
        EnvironmentProblem, match=r"needs .* GiB, 0\.00 GiB are allowed: raise --max-vram"
    ) as caught:
        segmenter.require_vram(1000)
    assert caught.value.code == Code.MEMORY


def test_without_a_card_the_option_is_refused(tmp_path: Path) -> None:
    model = BatchModel.load(write_oracle(tmp_path / "oracle.safetensors", structures=3), device="cpu")
    assert model.with_vram(None).max_vram_bytes is None
    with pytest.raises(UsageError, match="runs on cpu here"):
        model.with_vram(2**30)


@pytest.mark.gpu
def test_a_card_gives_no_more_than_is_allowed() -> None:
    device = torch.device("cuda")
    limit_vram(device, 2**28)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(2**29, dtype=torch.uint8, device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
