"""Malicious configurations, overrides and cohort tables."""

import json
from pathlib import Path
from typing import Any

from support.malicious import CANARY, Make, run_pickle, tar_that_climbs, written, zip_that_climbs

_RUN = f"os.system ['touch \"${CANARY}\"']"


def _yaml(text: str | bytes) -> Make:
    return lambda folder: written(folder, "config.yaml", text)


CONFIGS: dict[str, Make] = {
    "pickle named .yaml": _yaml(run_pickle()),
    "zip with ../ as a configuration": _yaml(zip_that_climbs("../evil.yaml")),
    "yaml python/object/apply": _yaml(f"name: !!python/object/apply:{_RUN}"),
    "yaml python/object/new": _yaml(f"name: !!python/object/new:{_RUN}"),
    "yaml python/name": _yaml("name: !!python/name:os.system"),
    "yaml python/module": _yaml("name: !!python/module:os"),
    "yaml object as a key": _yaml(f"? !!python/object/apply:{_RUN}\n: 1"),
    "yaml tag directive": _yaml(f"%TAG ! tag:yaml.org,2002:python/\n---\nname: !object/apply:{_RUN}"),
    "yaml alias": _yaml("labels: &a {b: 1}\ndata: *a"),
    "yaml that holds itself": _yaml("a: &a [*a]"),
    "yaml merge key": _yaml("name: trial\n<<: {name: other}"),
    "yaml key twice": _yaml("name: a\nname: b"),
    "yaml key twice in other words": _yaml("labels: {1: 1, 0x1: 2}"),
    "yaml NUL byte": _yaml(b"name: a\0b\n"),
    "yaml escape sequences": _yaml(b"name: \x1b]0;owned\x07\n"),
    "yaml tabs": _yaml("data:\n\tcohort: x\n"),
    "yaml in UTF-16": _yaml("name: trial".encode("utf-16")),
    "yaml number of 100,000 digits": _yaml("labels: {a: " + "9" * 100_000 + "}"),
}

OVERRIDES: dict[str, str] = {
    "--set runs an object": f"name=!!python/object/apply:{_RUN}",
    "--set a dunder": "labels.__class__.__init__=1",
    "--set 30,000 keys deep": ".".join(["a"] * 30_000) + "=1",
    "--set an alias": "model={kind: &a unet, plane: *a}",
    "--set a name that climbs": "name=../../evil",
}


def _csv(*rows: str, name: str = "cohort.csv") -> Make:
    return lambda folder: written(folder, name, "\n".join(("case,image,label", *rows)))


def _dataset(content: dict[str, Any]) -> Make:
    return lambda folder: written(folder, "dataset.json", json.dumps(content)).parent


COHORTS: dict[str, Make] = {
    "pickle named .csv": lambda folder: written(folder, "cohort.csv", run_pickle()),
    "zip with ../ as a cohort": lambda folder: written(folder, "cohort.zip", zip_that_climbs("../evil")),
    "tar with ../ as a cohort": lambda folder: written(folder, "cohort.csv", tar_that_climbs("../evil")),
    "csv case that climbs": _csv("../../evil,ct.nii.gz,ct.nii.gz"),
    "csv case that is absolute": _csv("/etc/evil,ct.nii.gz,ct.nii.gz"),
    "csv case that is a formula": _csv("=cmd|'/C calc'!A0,ct.nii.gz,ct.nii.gz"),
    "csv case that is a device": _csv("NUL,ct.nii.gz,ct.nii.gz"),
    "csv case of two lines": _csv('"a\nb",ct.nii.gz,ct.nii.gz'),
    "csv image /etc/passwd": _csv("a,/etc/passwd,ct.nii.gz"),
    "csv cell of a megabyte": _csv("a," + "b" * 1_000_000 + ",ct.nii.gz"),
    "pickle as dataset.json": lambda folder: written(folder, "dataset.json", run_pickle()).parent,
    "dataset.json entry that is /": _dataset({"training": [{"image": "/", "label": "/"}]}),
    "dataset.json entry /etc/passwd": _dataset(
        {"training": [{"image": "/etc/passwd", "label": "../../etc/passwd"}]}
    ),
    "dataset.json channel of 5,000 digits": _dataset({"channel_names": {"9" * 5000: "CT"}, "training": []}),
    "dataset.json channel that only looks like a digit": _dataset(
        {"channel_names": {"²": "CT"}, "training": []}
    ),
    "dataset.json ending that climbs": _dataset(
        {"channel_names": {"0": "CT"}, "file_ending": "/../../../etc/passwd"}
    ),
}


def scan_outside(folder: Path) -> Path:
    """A table that names a scan outside its folder, which its user can read."""
    return written(folder, "in/cohort.csv", "case,image,label\na,../ct.nii.gz,../ct.nii.gz\n")
