"""Networks for volumes: (B, C, I, J, K) to logits (B, classes, I, J, K)."""

from medseg.models.build import build_network, size_multiples

__all__ = ["build_network", "size_multiples"]
