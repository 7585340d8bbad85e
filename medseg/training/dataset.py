"""Training patches: every draw is a function of (seed, epoch, sample), whichever process makes it."""

import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from medseg.config import Experiment
from medseg.data import PreparedCache
from medseg.errors import Code, TrainingError
from medseg.training.prepare import PreparedCase
from medseg.transforms import ForegroundIndex, build_augmentation, sample_patch, single_thread


class Sample(TypedDict):
    """One patch, or a batch of them (then every entry has a leading axis B)."""

    image: Tensor
    label: Tensor
    known: Tensor
    case: Tensor


@dataclass(frozen=True)
class Opened:
    """A prepared case as memory maps, with its foreground positions."""

    image: np.ndarray
    label: np.ndarray
    foreground: ForegroundIndex


@dataclass
class PatchDataset(Dataset[Sample]):
    """Sample n belongs to epoch n // len(cases); each epoch goes through all cases in a new order."""

    experiment: Experiment
    cases: Sequence[PreparedCase]
    cache: PreparedCache
    spacing_mm: tuple[float, float, float]
    _opened: dict[int, Opened] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._augment = build_augmentation(
            self.experiment.augmentation,
            pairs=self.experiment.class_pairs,
            patch_size=self.experiment.sampling.patch_size,
        )

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Sample:
        seed = self.experiment.training.seed
        epoch, sample = divmod(index, len(self.cases))
        chosen = int(np.random.default_rng((seed, epoch, 0)).permutation(len(self.cases))[sample])
        case = self._open(chosen)
        margin = self._augment.margin(self.spacing_mm)
        size = tuple(n + 2 * m for n, m in zip(self.experiment.sampling.patch_size, margin, strict=True))
        with single_thread():
            image, label = sample_patch(
                case.image,
                case.label,
                (size[0], size[1], size[2]),
                foreground=self.experiment.sampling.foreground,
                index=case.foreground,
                rng=np.random.default_rng((seed, epoch, 1 + sample)),
                margin=margin,
            )
            known = torch.tensor(self.cases[chosen].known)
            patch = self._augment(image, label, self.spacing_mm, key=(seed, epoch, sample), known=known)
        return Sample(image=patch.image, label=patch.label, known=patch.known, case=torch.tensor(chosen))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": {}}  # a worker opens the files itself

    def _open(self, chosen: int) -> Opened:
        if chosen not in self._opened:
            case = self.cases[chosen]
            arrays = self.cache.get(case.key)
            if arrays is None:
                raise TrainingError(
                    Code.CACHE_VANISHED,
                    f"case {case.id}: its preprocessed copy vanished from {self.cache.folder}: train again",
                )
            foreground = ForegroundIndex.build(arrays["label"])
            self._opened[chosen] = Opened(arrays["image"], arrays["label"], foreground)
        return self._opened[chosen]


@dataclass
class StepSampler(Sampler[list[int]]):
    """Batches of sample numbers from a step on, without end; sample numbers depend on the step alone."""

    batch_size: int
    first_step: int = 0

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            yield list(range(step * self.batch_size, (step + 1) * self.batch_size))
            step += 1


def patch_batches(
    dataset: PatchDataset, batch_size: int, first_batch: int, workers: int, pin: bool
) -> Iterator[Sample]:
    """Batches from ``first_batch`` on; the same ones for any number of workers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: as asked
        loader = DataLoader(
            dataset,
            batch_sampler=StepSampler(batch_size, first_batch),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=pin,
            worker_init_fn=_leave_signals_to_the_trainer,
        )
        return iter(loader)


def _leave_signals_to_the_trainer(_worker: int) -> None:
    """Ctrl-C and a cluster's TERM reach every process: workers go on until the step in hand is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
