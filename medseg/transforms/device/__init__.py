"""Augmentation that workers begin and the device of the network finishes, a batch at once.

What happens to a patch is drawn in the worker, as it is where the worker does all. The drawn numbers travel
with the patch, and here they are applied: same draws, same order, same result but for rounding.
"""

from medseg.transforms.device.finish import DeviceAugment
from medseg.transforms.device.left import Left, put_together
from medseg.transforms.device.share import Begun, WorkerShare

__all__ = ["Begun", "DeviceAugment", "Left", "WorkerShare", "put_together"]
