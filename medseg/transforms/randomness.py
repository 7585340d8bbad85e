"""Draws that depend on nothing but what they are for."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def stable_seed(*parts: int | str) -> int:
    """63 bits from ``parts``: the same in every process, on every machine, in every version of Python."""
    digest = hashlib.blake2b("\x1f".join(map(repr, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's CPU generator, which TorchIO draws from, starts at ``seed``; afterwards it is as before."""
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread for torch's operators: sums are then taken in one order, whatever the machine."""
    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


def uniform(low: float, high: float) -> float:
    """One number, from torch's CPU generator."""
    return low + (high - low) * float(torch.rand((), dtype=torch.float64))


def chance(p: float) -> bool:
    """True with probability ``p``."""
    return float(torch.rand((), dtype=torch.float64)) < p
