# Cross-validation: folds, a training each, out-of-fold masks, one report of all patients, postprocessing
# chosen on those masks, and one model file of all networks.
#
#   snakemake -s pipelines/cross_validation.smk --profile pipelines/profiles/laptop \
#       --config config=configs/prostate_ct.yaml out=cv/prostate
#
# Outputs of a rule are the files that medseg writes last. What a killed command leaves half done (checkpoints,
# masks, best weights so far) is no output, so that Snakemake does not remove it and medseg goes on from it.
from shlex import quote

include: "cores.smk"

CONFIG = config.get("config", "configs/prostate_ct.yaml")
OUT = config.get("out", "cross_validation")
FOLDS = range(int(config.get("folds", 5)))
HELD_OUT = config.get("held_out", 0)  # patients kept for a test of the ensemble; 0: none
MEDSEG = config.get("medseg", "medseg")
SET = config.get("set", [])  # more changes of the configuration, as in set="['training.stop.minutes=20']"
INFER = config.get("infer", "")  # more options of medseg infer
AT_ONCE = int(config.get("at_once", 1))  # trainings side by side on a processor, each with its share of the cores
SHARE = max(1, CORES // AT_ONCE)
LIMIT = f"OMP_NUM_THREADS={SHARE} " if AT_ONCE > 1 else ""
CHANGES = " ".join(
    f"--set {quote(str(change))}"
    for change in [
        f"data.folds={len(FOLDS)}",
        f"data.held_out={HELD_OUT}",
        "inference.postprocessing={}",  # chosen below, on masks as the networks make them
        *([SET] if isinstance(SET, str) else SET),
    ]
)
TEST = [f"{OUT}/held_out/summary.json"] if float(HELD_OUT) > 0 else []


localrules: all, folds


rule all:
    input:
        f"{OUT}/folds.csv",
        f"{OUT}/out_of_fold/summary.json",
        f"{OUT}/postprocessing.json",
        f"{OUT}/ensemble.safetensors",
        TEST,


rule folds:
    """Who validates in which fold. Before anything is trained: problems of the cohort are told here."""
    output:
        f"{OUT}/folds.csv",
    shell:
        "{MEDSEG} split {CONFIG:q} {CHANGES} -o {output:q}"


rule train:
    input:
        f"{OUT}/folds.csv",
    output:
        f"{OUT}/fold_{{fold}}/summary.json",
    params:
        run=lambda wildcards: f"{OUT}/fold_{wildcards.fold}",
    threads: SHARE
    resources:
        gpu=1 if AT_ONCE == 1 else 0,
    shell:
        "{LIMIT}exec {MEDSEG} train {CONFIG:q} {CHANGES} --set data.fold={wildcards.fold} -o {params.run:q} --resume --wait"


rule infer:
    """The masks of the patients that this fold's network did not learn from."""
    input:
        f"{OUT}/fold_{{fold}}/summary.json",
    output:
        f"{OUT}/masks/fold_{{fold}}/summary.csv",
    params:
        run=lambda wildcards: f"{OUT}/fold_{wildcards.fold}",
        masks=lambda wildcards: f"{OUT}/masks/fold_{wildcards.fold}",
    threads: CORES
    resources:
        gpu=1,
    shell:
        "{MEDSEG} infer --model {params.run:q} --split validation -o {params.masks:q} --wait {INFER} || [ $? -eq 3 ]"


rule pooled_report:
    """All patients in one table, each once; one without a mask counts as failed (exit code 3)."""
    input:
        expand(f"{OUT}/masks/fold_{{fold}}/summary.csv", fold=FOLDS),
    output:
        f"{OUT}/out_of_fold/summary.json",
    threads: CORES
    shell:
        "{MEDSEG} evaluate {OUT:q}/masks --config {OUT:q}/fold_0 --split folds -o {OUT:q}/out_of_fold || [ $? -eq 3 ]"


rule postprocessing:
    """What is removed from masks, only where it helps."""
    input:
        expand(f"{OUT}/masks/fold_{{fold}}/summary.csv", fold=FOLDS),
    output:
        f"{OUT}/postprocessing.json",
    shell:
        "{MEDSEG} postprocess {OUT:q}/masks {OUT:q}/fold_0/config.yaml --split folds -o {output:q}"


rule ensemble:
    input:
        expand(f"{OUT}/fold_{{fold}}/summary.json", fold=FOLDS),
        post=f"{OUT}/postprocessing.json",
    output:
        f"{OUT}/ensemble.safetensors",
    params:
        runs=[f"{OUT}/fold_{fold}" for fold in FOLDS],
    shell:
        "{MEDSEG} convert ensemble {params.runs:q} --postprocessing {input.post:q} -o {output:q}"


rule held_out_masks:
    input:
        f"{OUT}/ensemble.safetensors",
    output:
        f"{OUT}/held_out/masks/summary.csv",
    threads: CORES
    resources:
        gpu=1,
    shell:
        "{MEDSEG} infer --model {input:q} --split test -o {OUT:q}/held_out/masks --wait {INFER} || [ $? -eq 3 ]"


rule held_out_report:
    """The ensemble on patients that no network has seen and no rule was chosen on."""
    input:
        f"{OUT}/held_out/masks/summary.csv",
    output:
        f"{OUT}/held_out/summary.json",
    shell:
        "{MEDSEG} evaluate {OUT:q}/held_out/masks --config {OUT:q}/fold_0 --split test -o {OUT:q}/held_out"
        " || [ $? -eq 3 ]"
