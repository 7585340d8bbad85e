# A model over a large cohort, in shards that run side by side, and one table of all patients.
#
#   snakemake -s pipelines/cohort_inference.smk --profile pipelines/profiles/slurm \
#       --config model=cv/ensemble.safetensors cohort=/data/cohort out=masks shards=16
#
# A shard that was killed goes on where it was: medseg keeps the patients whose masks hold.
from shlex import quote

include: "cores.smk"

MODEL = config["model"]
COHORT = config["cohort"]
OUT = config.get("out", "masks")
COUNT = int(config.get("shards", 4))
SHARDS = range(1, COUNT + 1)
REFERENCES = config.get("references")  # a folder of references, for a report with scores
MEDSEG = config.get("medseg", "medseg")
INFER = config.get("infer", "")  # more options of medseg infer
SCORES = [f"{OUT}/evaluation/summary.json"] if REFERENCES else []


localrules: all, merge


rule all:
    input:
        f"{OUT}/summary.csv",
        SCORES,


rule shard:
    """Patients that fail are in failures.json, and do not hold up the others (exit code 3)."""
    output:
        f"{OUT}/shards/{{shard}}/summary.csv",
    params:
        folder=lambda wildcards: f"{OUT}/shards/{wildcards.shard}",
    threads: max(1, CORES // COUNT)
    resources:
        gpu=1,
    shell:
        "{MEDSEG} infer {COHORT:q} --model {MODEL:q} --shard {wildcards.shard}/{COUNT} -o {params.folder:q} --wait"
        " {INFER} || [ $? -eq 3 ]"


rule merge:
    """Every patient once; shards of another model or other settings are refused."""
    input:
        expand(f"{OUT}/shards/{{shard}}/summary.csv", shard=SHARDS),
    output:
        f"{OUT}/summary.csv",
    params:
        folders=[f"{OUT}/shards/{shard}" for shard in SHARDS],
    shell:
        "{MEDSEG} merge {params.folders:q} -o {OUT:q} || [ $? -eq 3 ]"


rule evaluate:
    input:
        f"{OUT}/summary.csv",
    output:
        f"{OUT}/evaluation/summary.json",
    params:
        references=REFERENCES or "",
    shell:
        "{MEDSEG} evaluate {OUT:q}/shards {params.references:q} --config {MODEL:q} -o {OUT:q}/evaluation || [ $? -eq 3 ]"
