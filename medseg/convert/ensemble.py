"""Several trained networks as one model file, whose scores are averaged."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medseg.config import parse_experiment
from medseg.config.inference import PostprocessingConfig
from medseg.config.load import read_yaml
from medseg.errors import Code, ConfigError, ModelFileError, UsageError
from medseg.inference.review import ReviewRule, merged_rule
from medseg.modelfile import MAX_MEMBERS, ModelFile, load_network, member_prefix

_SHARED = ("labels", "left_right_pairs", "preprocessing", "model", "inference")
"""Parts of an experiment that decide a mask, besides channels, patch size and fitted values."""


def read_postprocessing(path: Path) -> PostprocessingConfig:
    """What ``medseg postprocess`` chose.

    Raises:
        ConfigError: not such a file.
    """
    told = read_yaml(path).get("postprocessing")  # JSON is YAML
    try:
        return PostprocessingConfig.model_validate(told)
    except ValidationError:
        raise ConfigError(
            Code.CONFIG_VALUE, f"{path}: no postprocessing in it: give a file that medseg postprocess wrote"
        ) from None


def merge_models(
    models: Sequence[ModelFile], name: str, postprocessing: PostprocessingConfig | None = None
) -> ModelFile:
    """One model of the networks of all ``models``, under the configuration of the first and its own ``name``.

    ``postprocessing`` takes the place of the first one's. Where every model tells which masks to look at, the
    ensemble does (:func:`medseg.inference.review.merged_rule`).

    Raises:
        UsageError: less than two networks, or too many.
        ModelFileError: they prepare scans differently, find other structures, or are other networks.
    """
    members = [_weights(model, member) for model in models for member in range(model.members)]
    if not 2 <= len(members) <= MAX_MEMBERS:
        raise UsageError(
            Code.OPTION,
            f"{len(members)} networks given; an ensemble has 2 to {MAX_MEMBERS}: give as many models",
        )
    first = models[0]
    for index, model in enumerate(models[1:], start=2):
        differ = [part for part, value in _deciding(first).items() if _deciding(model)[part] != value]
        if differ:
            raise ModelFileError(
                Code.MODEL_MISFIT,
                f"models 1 and {index} differ in {', '.join(differ)}: their scores cannot be averaged; "
                "train them with one configuration, with preprocessing.spacing_mm set",
            )
    told = first.experiment.model_dump(mode="json") | {"name": name}
    if postprocessing is not None:
        told["inference"]["postprocessing"] = postprocessing.model_dump(mode="json")
    weights = {
        member_prefix(index) + key: value
        for index, member in enumerate(members)
        for key, value in member.items()
    }
    provenance = {"ensemble_of": [model.provenance for model in models]}
    merged = ModelFile(
        parse_experiment(told, "its configuration"),
        first.fitted,
        provenance,
        weights,
        len(members),
        review=_review(models),
    )
    for member in range(merged.members):
        load_network(merged, member)
    return merged


def _review(models: Sequence[ModelFile]) -> dict[str, Any]:
    """Nothing if a model has no rule: what one network expects says little of the others' masks."""
    if not all(model.review for model in models):
        return {}
    return merged_rule([ReviewRule.from_json(model.review) for model in models]).to_json()


def _weights(model: ModelFile, member: int) -> Mapping[str, Any]:
    if model.members == 1:
        return model.weights
    prefix = member_prefix(member)
    return {
        name.removeprefix(prefix): value for name, value in model.weights.items() if name.startswith(prefix)
    }


def _deciding(model: ModelFile) -> dict[str, Any]:
    told = model.experiment.model_dump(mode="json")
    return {
        **{part: told[part] for part in _SHARED},
        "labels": list(told["labels"].items()),
        "channels": told["data"]["channels"],
        "patch_size": told["sampling"]["patch_size"],
        "fitted values": model.fitted,
    }
