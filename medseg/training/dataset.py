"""Training patches: every draw is a function of (seed, epoch, sample), whichever process makes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch.utils.data import Dataset

from medseg.config import Experiment
from medseg.data import PreparedCache
from medseg.errors import Code, TrainingError
from medseg.training.prepare import PreparedCase
from medseg.transforms import ForegroundIndex, sample_patch, single_thread
from medseg.transforms.augmentation import build_augmentation


class Sample(TypedDict):
    """One patch, and the index of the case it comes from."""

    image: Float32[np.ndarray, "C i j k"]
    label: UInt8[np.ndarray, "i j k"]
    known: Bool[np.ndarray, "L"]
    case: int


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
        key = (seed, epoch, sample)
        margin = self._augment.margin(self.spacing_mm, key)  # no more is read than this sample's draw reaches
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
            patch = self._augment(image, label, self.spacing_mm, key=key, known=known)
        return Sample(
            image=patch.image.numpy(), label=patch.label.numpy(), known=patch.known.numpy(), case=chosen
        )

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
            foreground = ForegroundIndex.from_array(np.asarray(arrays["foreground"]))
            self._opened[chosen] = Opened(arrays["image"], arrays["label"], foreground)
        return self._opened[chosen]
