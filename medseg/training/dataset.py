"""Training patches: every draw is a function of (seed, epoch, sample), whichever process makes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from medseg.config import Experiment
from medseg.config.training import TrainingConfig
from medseg.data import PreparedCache
from medseg.errors import Code, TrainingError, UsageError
from medseg.training.prepare import PreparedCase
from medseg.transforms import ForegroundIndex, sample_patch, single_thread
from medseg.transforms.augmentation import build_augmentation
from medseg.transforms.device import Begun, DeviceAugment, Left, WorkerShare
from medseg.transforms.device.draws import Drawn

AugmentOn = Literal["workers", "device"]


class Sample(TypedDict):
    """One patch, and the index of the case it comes from."""

    image: Float32[np.ndarray, "C i j k"]
    label: UInt8[np.ndarray, "i j k"]
    known: Bool[np.ndarray, "L"]
    case: int
    left: dict[int, Drawn]
    """What the device has still to do; nothing where the workers do all."""


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
    augment_on: AugmentOn = "workers"
    _opened: dict[int, Opened] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._augment = build_augmentation(
            self.experiment.augmentation,
            pairs=self.experiment.class_pairs,
            patch_size=self.experiment.sampling.patch_size,
        )
        self._weights = turns([case.known for case in self.cases])
        self._begin, self._finish = WorkerShare(self._augment), DeviceAugment(self._augment)

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
                weights=self._weights,
            )
            known = torch.tensor(self.cases[chosen].known)
            if self.augment_on == "device":
                patch = self._begin(image, label, self.spacing_mm, key=key, known=known)
            else:
                patch = Begun(*self._augment(image, label, self.spacing_mm, key=key, known=known), left={})
        return Sample(
            image=patch.image.numpy(),
            label=patch.label.numpy(),
            known=patch.known.numpy(),
            case=chosen,
            left=patch.left,
        )

    def finish(
        self, image: Float32[Tensor, "B C I J K"], label: UInt8[Tensor, "B I J K"], left: Left
    ) -> tuple[Float32[Tensor, "B C i j k"], UInt8[Tensor, "B i j k"]]:
        """What the workers left of a batch's augmentation, on the device of its tensors."""
        return self._finish(image, label, left)

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


def turns(known: Sequence[Sequence[bool]]) -> Float32[np.ndarray, "L"] | None:
    """How likely each class is the one in the middle of a patch, in cases that show it: the more, the fewer
    cases it was drawn in, so that a structure drawn in a third of them is not seen a third as often.

    None: all were drawn in as many, and take equal turns.
    """
    drawn = np.sum(np.asarray(known, dtype=bool), axis=0)[1:] if len(known) else np.empty(0, int)
    if len(np.unique(drawn)) < 2:
        return None
    return np.concatenate([[0.0], 1 / np.maximum(drawn, 1)]).astype(np.float32)


def choose_augment_on(config: TrainingConfig, device: torch.device) -> AugmentOn:
    """Where ``training.augment_on`` has patches augmented when the network trains on ``device``.

    Raises:
        UsageError: a device that lacks what it takes.
    """
    if config.augment_on != "device":
        return "device" if config.augment_on == "auto" and device.type == "cuda" else "workers"
    if device.type not in ("cpu", "cuda"):
        raise UsageError(
            Code.OPTION,
            f"training.augment_on: device, but training is on {device.type}, where it was never tried: "
            "give auto or workers",
        )
    return "device"
