"""Models that other software trained, as medseg model files."""

from medseg.convert.nnunet import Converted, convert_nnunet

__all__ = ["Converted", "convert_nnunet"]
