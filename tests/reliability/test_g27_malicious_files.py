"""G27: model files, configurations and cohort tables that would run code, climb out of folders, or lie.

Each verdict was written down before the file was tried: the code of the refusal.
"""

import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo  # sets a variable of the environment when it is first imported, as optimisers do
import yaml
from torch import nn

from medseg.config import DataConfig, load_experiment
from medseg.data import PreparedCache, find_cases
from medseg.errors import Code, MedsegError
from medseg.modelfile import load_model, load_network
from medseg.training.state import Learner, unpack
from support.malicious import CANARY, Make, object_array, run_pickle, torch_checkpoint, written
from support.malicious_models import CHECKPOINTS, MODELS
from support.malicious_texts import COHORTS, CONFIGS, OVERRIDES, scan_outside
from support.world import World

SHIPPED = Path(__file__).resolve().parents[2] / "configs" / "prostate_ct.yaml"

MODEL_VERDICTS = {
    "pickle named .safetensors": Code.MODEL_FOREIGN,
    "pickle named .pt": Code.MODEL_FOREIGN,
    "torch.save named .safetensors": Code.MODEL_FOREIGN,
    "zip with ../ as a model": Code.MODEL_FOREIGN,
    "tar with ../ as a model": Code.MODEL_FOREIGN,
    "pickle behind a safetensors header": Code.MODEL_FOREIGN,
    "header of 2^63 bytes": Code.MODEL_FOREIGN,
    "header longer than the file": Code.MODEL_DAMAGED,
    "metadata that is no text": Code.MODEL_FOREIGN,
    "metadata that is another's": Code.MODEL_FOREIGN,
    "format of 400 digits": Code.MODEL_NEWER,
    "format true": Code.MODEL_FOREIGN,
    "format NaN": Code.MODEL_FOREIGN,
    "metadata twice": Code.MODEL_FOREIGN,
    "metadata tampered with": Code.MODEL_DAMAGED,
    "tensors that overlap": Code.MODEL_DAMAGED,
    "tensor beyond the end": Code.MODEL_DAMAGED,
    "hole between tensors": Code.MODEL_DAMAGED,
    "negative shape": Code.MODEL_DAMAGED,
    "shape whose product overflows": Code.MODEL_DAMAGED,
    "offsets from end to start": Code.MODEL_DAMAGED,
    "unknown type of numbers": Code.MODEL_DAMAGED,
    "weights of another network": Code.MODEL_DAMAGED,  # its checksum is of the first ones
    "a billion networks": Code.MODEL_FOREIGN,
    "networks true": Code.MODEL_FOREIGN,
    "two networks with the weights of one": Code.MODEL_MISFIT,
    "name with a path": Code.MODEL_MISFIT,
    "structure with a path": Code.MODEL_MISFIT,
    "unknown key in the configuration": Code.MODEL_MISFIT,
    "kind of network that is a module": Code.MODEL_MISFIT,
}
CONFIG_VERDICTS = {
    "pickle named .yaml": Code.CONFIG_FILE,
    "zip with ../ as a configuration": Code.CONFIG_FILE,
    "yaml python/object/apply": Code.CONFIG_SYNTAX,
    "yaml python/object/new": Code.CONFIG_SYNTAX,
    "yaml python/name": Code.CONFIG_SYNTAX,
    "yaml python/module": Code.CONFIG_SYNTAX,
    "yaml object as a key": Code.CONFIG_SYNTAX,
    "yaml tag directive": Code.CONFIG_SYNTAX,
    "yaml alias": Code.CONFIG_SYNTAX,
    "yaml that holds itself": Code.CONFIG_SYNTAX,
    "yaml merge key": Code.CONFIG_SYNTAX,
    "yaml key twice": Code.CONFIG_SYNTAX,
    "yaml key twice in other words": Code.CONFIG_SYNTAX,
    "yaml NUL byte": Code.CONFIG_SYNTAX,
    "yaml escape sequences": Code.CONFIG_SYNTAX,
    "yaml tabs": Code.CONFIG_SYNTAX,
    "yaml in UTF-16": Code.CONFIG_FILE,
    "yaml number of 100,000 digits": Code.CONFIG_SYNTAX,
}
OVERRIDE_VERDICTS = {
    "--set runs an object": Code.CONFIG_SYNTAX,
    "--set a dunder": Code.CONFIG_VALUE,  # labels may have any name, and this one's value is no number
    "--set 30,000 keys deep": Code.CONFIG_OVERRIDE,
    "--set an alias": Code.CONFIG_SYNTAX,
    "--set a name that climbs": Code.CONFIG_VALUE,
}
COHORT_VERDICTS = {
    "pickle named .csv": Code.COHORT_TABLE,
    "zip with ../ as a cohort": Code.COHORT_FORM,
    "tar with ../ as a cohort": Code.COHORT_TABLE,
    "csv case that climbs": Code.COHORT_CASES,
    "csv case that is absolute": Code.COHORT_CASES,
    "csv case that is a formula": Code.COHORT_CASES,
    "csv case that is a device": Code.COHORT_CASES,
    "csv case of two lines": Code.COHORT_CASES,
    "csv image /etc/passwd": Code.COHORT_CASES,
    "csv cell of a megabyte": Code.COHORT_TABLE,
    "pickle as dataset.json": Code.COHORT_TABLE,
    "dataset.json entry that is /": Code.COHORT_CASES,
    "dataset.json entry /etc/passwd": Code.COHORT_CASES,
    "dataset.json channel of 5,000 digits": Code.COHORT_CASES,
    "dataset.json channel that only looks like a digit": Code.COHORT_CASES,
    "dataset.json ending that climbs": Code.COHORT_CASES,
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """In a place with a short name: pytest names its folders after the tests."""
    root = Path(tempfile.mkdtemp(prefix="world-"))
    monkeypatch.setenv(CANARY, str(root / "canary"))
    yield World(root)
    shutil.rmtree(root)


def refusal(world: World, make: Make, use: Callable[[Path], object]) -> Code:
    path = make(world.place)
    world.mark()
    with pytest.raises(MedsegError) as caught:
        use(path)
    world.require_untouched()
    assert caught.value.problems and all(len(problem) < 2000 for problem in caught.value.problems)
    return caught.value.code


def test_each_file_has_its_verdict() -> None:
    for files, verdicts in (
        (MODELS, MODEL_VERDICTS),
        (CONFIGS, CONFIG_VERDICTS),
        (OVERRIDES, OVERRIDE_VERDICTS),
        (COHORTS, COHORT_VERDICTS),
    ):
        assert files.keys() == verdicts.keys()


@pytest.mark.parametrize(
    "careless",
    [
        lambda path: pickle.loads(run_pickle()),  # noqa: S301 - to see it run
        lambda path: torch.load(BytesIO(torch_checkpoint()), weights_only=False),
        lambda path: np.load(BytesIO(object_array()), allow_pickle=True),
        lambda path: yaml.unsafe_load(CONFIGS["yaml python/object/apply"](path).read_text()),
    ],
)
def test_a_careless_reader_would_be_caught(careless: Callable[[Path], object], world: World) -> None:
    careless(world.place)
    assert world.canary.exists()


@pytest.mark.row("G27")
@pytest.mark.parametrize("name", MODEL_VERDICTS)
def test_model_files(name: str, world: World) -> None:
    assert refusal(world, MODELS[name], lambda path: load_network(load_model(path))) == MODEL_VERDICTS[name]


@pytest.mark.row("G27")
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(name: str, world: World) -> None:
    network = nn.Linear(1, 1)
    learner = Learner(network, torch.optim.AdamW(network.parameters()), None)
    found = refusal(world, CHECKPOINTS[name], lambda path: unpack(path, learner, "mark"))
    assert found == Code.CHECKPOINT_DAMAGED


@pytest.mark.row("G27")
def test_a_cache_entry_with_an_object_in_it(world: World) -> None:
    cache = PreparedCache(world.place)
    cache.put("0123456789", {"image": torch.zeros(1).numpy()})
    (array,) = world.place.rglob("image.npy")
    array.write_bytes(object_array())
    assert cache.get("0123456789") is None
    assert not world.canary.exists()


@pytest.mark.row("G27")
@pytest.mark.parametrize("name", CONFIG_VERDICTS)
def test_configurations(name: str, world: World) -> None:
    assert refusal(world, CONFIGS[name], load_experiment) == CONFIG_VERDICTS[name]


@pytest.mark.row("G27")
@pytest.mark.parametrize("name", OVERRIDE_VERDICTS)
def test_overrides(name: str, world: World) -> None:
    found = refusal(world, lambda _: SHIPPED, lambda path: load_experiment(path, [OVERRIDES[name]]))
    assert found == OVERRIDE_VERDICTS[name]


@pytest.mark.row("G27")
@pytest.mark.parametrize("name", COHORT_VERDICTS)
def test_cohorts(name: str, world: World) -> None:
    written(world.place, "ct.nii.gz", b"there, and not read")
    found = refusal(
        world, COHORTS[name], lambda path: find_cases(DataConfig(cohort=str(path), folds=2), ("organ",))
    )
    assert found == COHORT_VERDICTS[name]


@pytest.mark.row("G27")
def test_a_table_may_name_what_its_user_can_read_but_not_where_results_go(world: World) -> None:
    path = scan_outside(world.place)
    written(world.place, "ct.nii.gz", b"there, and not read")
    (case,) = find_cases(DataConfig(cohort=str(path), folds=2), ("organ",))
    assert case.id == "a" and case.images[0].resolve() == (world.place / "ct.nii.gz").resolve()
