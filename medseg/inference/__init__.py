"""Sliding-window inference: windows, engines, restoring, postprocessing, and the Segmenter."""

from medseg.inference.engine import Engine, TorchEngine
from medseg.inference.postprocess import postprocess
from medseg.inference.predict import predict_classes
from medseg.inference.preparation import Preparation, PreparedScan
from medseg.inference.segmenter import Segmented, Segmenter
from medseg.inference.windows import WindowPlan, plan_windows

__all__ = [
    "Engine",
    "Preparation",
    "PreparedScan",
    "Segmented",
    "Segmenter",
    "TorchEngine",
    "WindowPlan",
    "plan_windows",
    "postprocess",
    "predict_classes",
]
