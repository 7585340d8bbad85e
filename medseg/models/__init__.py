"""Networks for volumes: (B, C, I, J, K) to logits (B, classes, I, J, K)."""

from medseg.models.build import build_network, last_head, size_multiples, without_head

__all__ = ["build_network", "last_head", "size_multiples", "without_head"]
