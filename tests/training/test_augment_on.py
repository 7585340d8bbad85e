"""Training whose augmentation is finished where the network is: as repeatable as any other."""

from pathlib import Path

import pytest
import torch

from medseg.errors import UsageError
from medseg.training import Interrupted, RunFolder
from medseg.training.dataset import choose_augment_on
from medseg.training.train import train
from support.training_runs import StopAt, differences, ending, quick_experiment, tiny_experiment


def test_workers_and_resume_change_nothing_and_the_workers_alone_next_to_nothing(
    tiny_cohort: Path, tmp_path: Path
) -> None:
    whole, parted, apart = (RunFolder(tmp_path / name) for name in ("whole", "parted", "apart"))
    settings = {"stop": {"epochs": 2}, "batch_size": 2}
    train(quick_experiment(tiny_cohort, **settings, augment_on="device"), whole)
    with pytest.raises(Interrupted):
        more = {"augment_on": "device", "workers": 2}
        train(quick_experiment(tiny_cohort, **settings, **more), parted, listener=StopAt(4))
    train(quick_experiment(tiny_cohort, **settings, augment_on="device"), parted, resume=True)
    assert differences(ending(whole), ending(parted)) == []
    train(quick_experiment(tiny_cohort, **settings), apart)
    ours, theirs = (
        [row["loss"] for row in run.read_history() if "loss" in row][:5] for run in (whole, apart)
    )
    assert ours != theirs, "interpolated in another way"
    assert ours == pytest.approx(theirs, rel=0.02)


def test_auto_is_the_device_on_cuda_alone(tmp_path: Path) -> None:
    devices = [torch.device(name) for name in ("cpu", "mps", "cuda")]
    configs = {
        told: tiny_experiment(tmp_path, augment_on=told).training for told in ("auto", "workers", "device")
    }
    assert [choose_augment_on(configs["auto"], one) for one in devices] == ["workers", "workers", "device"]
    assert {choose_augment_on(configs["workers"], one) for one in devices} == {"workers"}
    assert {choose_augment_on(configs["device"], one) for one in (devices[0], devices[2])} == {"device"}
    with pytest.raises(UsageError, match="mps, where it was never tried: give auto or workers"):
        choose_augment_on(configs["device"], devices[1])
