# From raw cohorts to the tables of docs/experiments.md: every experiment that a YAML lists is trained, scored on
# its held-out patients and compared, as the list says.
#
#   snakemake -s pipelines/reproduce.smk --profile pipelines/profiles/laptop \
#       --config list=pipelines/experiments.yaml out=experiments
#
# The list (see pipelines/experiments.yaml) has
#   experiments: name -> {config, set: [...]}             a training each
#   comparisons: name -> [experiment, experiment, ...]    medseg compare over their scores
import yaml
from pathlib import Path
from shlex import quote

include: "cores.smk"

LIST = config.get("list", "pipelines/experiments.yaml")
OUT = config.get("out", "experiments")
ONLY = config.get("only", [])  # names of experiments; empty: all
MEDSEG = config.get("medseg", "medseg")
TOLD = yaml.safe_load(Path(LIST).read_text(encoding="utf-8"))
ONLY = [ONLY] if isinstance(ONLY, str) else ONLY
EXPERIMENTS = {name: told for name, told in TOLD["experiments"].items() if not ONLY or name in ONLY}
COMPARISONS = {
    name: runs for name, runs in (TOLD.get("comparisons") or {}).items() if set(runs) <= set(EXPERIMENTS)
}


def changes(wildcards):
    return " ".join(f"--set {quote(str(change))}" for change in EXPERIMENTS[wildcards.name].get("set", []))


localrules: all


rule all:
    input:
        expand(f"{OUT}/{{name}}/summary.json", name=EXPERIMENTS),
        expand(f"{OUT}/comparisons/{{name}}/comparison.json", name=COMPARISONS),


rule train:
    output:
        f"{OUT}/{{name}}/summary.json",
    wildcard_constraints:
        name="|".join(EXPERIMENTS),
    params:
        config=lambda wildcards: EXPERIMENTS[wildcards.name]["config"],
        changes=changes,
        run=lambda wildcards: f"{OUT}/{wildcards.name}",
    threads: CORES
    resources:
        gpu=1,
    shell:
        "exec {MEDSEG} train {params.config:q} {params.changes} -o {params.run:q} --resume --wait"


rule compare:
    input:
        lambda wildcards: [f"{OUT}/{run}/summary.json" for run in COMPARISONS[wildcards.name]],
    output:
        f"{OUT}/comparisons/{{name}}/comparison.json",
    params:
        runs=lambda wildcards: [f"{OUT}/{run}" for run in COMPARISONS[wildcards.name]],
        folder=lambda wildcards: f"{OUT}/comparisons/{wildcards.name}",
    shell:
        "{MEDSEG} compare {params.runs:q} -o {params.folder:q}"
