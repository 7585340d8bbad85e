"""Models that other software trained, and several models in one, as medseg model files."""

from medseg.convert.ensemble import merge_models, read_postprocessing
from medseg.convert.monai import convert_monai
from medseg.convert.nnunet import Converted, convert_nnunet

__all__ = ["Converted", "convert_monai", "convert_nnunet", "merge_models", "read_postprocessing"]
