"""The built-in cohort ``phantom:pelvis_ct``: simulated male pelvis CT with labels. See docs/phantom.md."""

from medseg.data.phantom.cohort import pelvis_ct_cohort
from medseg.data.phantom.simulate import IS_SIMULATION_NOTE, PHANTOM_LABELS, PhantomPatient, phantom_patient

__all__ = ["IS_SIMULATION_NOTE", "PHANTOM_LABELS", "PhantomPatient", "pelvis_ct_cohort", "phantom_patient"]
