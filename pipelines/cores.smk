# CORES: what a command may take on this machine.
from snakemake_interface_common.exceptions import WorkflowError

try:
    CORES = workflow.cores
except WorkflowError:  # on a cluster nobody has told: the profile gives each rule its threads
    CORES = 1
