"""Draws that depend on nothing but what they are for."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

_LOW = 0xFFFF


def stable_seed(*parts: int | str) -> int:
    """63 bits from ``parts``: the same in every process, on every machine, in every version of Python."""
    digest = hashlib.blake2b("\x1f".join(map(repr, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


@contextmanager
def kept_generator() -> Iterator[None]:
    """Torch's CPU generator, which TorchIO draws from, is afterwards as before."""
    generator = torch.default_generator
    before = generator.get_state()
    try:
        yield
    finally:
        generator.set_state(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's CPU generator starts at ``seed``; afterwards it is as before."""
    with kept_generator():
        start_generator(seed)
        yield


def start_generator(seed: int) -> None:
    """Torch's CPU generator, from here on."""
    torch.default_generator.manual_seed(seed)


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


def normal_seeds() -> Int32[Tensor, "2"]:
    """What :func:`normal_of` makes its numbers from, drawn from torch's CPU generator."""
    return torch.randint(-(2**31), 2**31, (2,), dtype=torch.int64).to(torch.int32)


def normal_of(seeds: Int32[Tensor, "B 2"], count: int) -> Float32[Tensor, "B n"]:
    """``count`` standard normal numbers (Box and Muller 1958) of each pair of seeds, on their device.

    Pairs come from 32 bits that are a hash of their place and of the seeds: vector instructions make them, in
    a fourth of the time of torch's own generator, and every device the same ones. The largest is 4.7.
    """
    places = torch.arange(-(-count // 2), dtype=torch.int32, device=seeds.device)
    bits = _hashed(places.repeat(len(seeds), 1), seeds)
    radius = (bits & _LOW).add_(1).float().mul_(2**-16).log_().mul_(-2).sqrt_()
    angle = bits.bitwise_right_shift_(16).float().mul_(2 * math.pi / 2**16)
    return torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)], dim=1)[:, :count]


def _hashed(bits: Int32[Tensor, "B n"], seeds: Int32[Tensor, "B 2"]) -> Int32[Tensor, "B n"]:
    """Each bit of the place and the seeds changes about half of those that come out (Wellons' lowbias32)."""
    scratch = torch.empty_like(bits)
    first, second = seeds[:, :1], seeds[:, 1:]
    rounds = ((first, 16, 0x7FEB352D), (second, 15, 0x846CA68B - 2**32), (None, 16, 1))
    for seed, shift, factor in rounds:
        if seed is not None:
            bits.bitwise_xor_(seed)
        torch.bitwise_right_shift(bits, shift, out=scratch)
        bits.bitwise_xor_(scratch.bitwise_and_(2 ** (32 - shift) - 1))  # negative shifts bring ones
        bits.mul_(factor)
    return bits
