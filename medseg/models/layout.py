"""Strides and kernels of each stage, from the patch that the network will see."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from medseg.errors import Code, ConfigError

logger = logging.getLogger(__name__)

SHORTEST = 4
"""An axis is not pooled below this many voxels."""


@dataclass(frozen=True)
class Layout:
    """Per stage, finest first: ``strides`` into it and ``kernels`` in it, one number an axis."""

    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]

    @property
    def depth(self) -> int:
        return len(self.strides)

    @property
    def dims(self) -> int:
        return len(self.strides[0])


def default_strides(size: Sequence[int], depth: int) -> tuple[tuple[int, ...], ...]:
    """Pool by 2 along every axis that is even and keeps ``SHORTEST`` voxels; the first stage is full size.

    >>> default_strides((64, 64, 8), 4)
    ((1, 1, 1), (2, 2, 2), (2, 2, 1), (2, 2, 1))
    """
    left = list(size)
    strides = [(1,) * len(left)]
    for _ in range(depth - 1):
        step = tuple(2 if n % 2 == 0 and n // 2 >= SHORTEST else 1 for n in left)
        left = [n // s for n, s in zip(left, step, strict=True)]
        strides.append(step)
    return tuple(strides)


def plan_layout(
    size: Sequence[int],
    axes: str,
    depth: int,
    kernel: int | tuple[tuple[int, ...], ...],
    strides: tuple[tuple[int, ...], ...] | None = None,
) -> Layout:
    """Strides and kernels of ``depth`` stages for patches of ``size`` voxels along ``axes`` (``"ijk"``).

    A single ``kernel`` becomes 1 along axes of one voxel, where there is nothing beside it to look at.

    Raises:
        ConfigError: the patch does not divide by the strides; axis and nearest sizes that fit are named.
    """
    if strides is None:
        strides = default_strides(size, depth)
        _tell_unpooled(size, axes, strides)
    require_multiple(size, axes, total_stride(strides), "the product of model.strides there")
    if isinstance(kernel, int):
        kernel = (tuple(kernel if n > 1 else 1 for n in size),) * depth
    return Layout(strides, kernel)


def total_stride(strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """How much coarser the last stage is than the first, along each axis."""
    return tuple(prod(axis) for axis in zip(*strides, strict=True))


def require_multiple(
    size: Sequence[int], axes: str, multiples: Sequence[int], reason: str, key: str = "sampling.patch_size"
) -> None:
    """Refuse a size (of what ``key`` names) that is no multiple of what the network needs there.

    Raises:
        ConfigError: one line for each axis, with the nearest sizes that fit.
    """
    ConfigError.raise_if(
        Code.CONFIG_NETWORK,
        (
            f"{key}: {n} along {axis} does not divide by {multiple} ({reason}): "
            f"the nearest that fits is {_nearest(n, multiple)}"
            for n, axis, multiple in zip(size, axes, multiples, strict=True)
            if n % multiple
        ),
    )


def require_room(size: Sequence[int], multiples: Sequence[int]) -> None:
    """Refuse a patch that shrinks to a single voxel: instance norm would have nothing to compare it with.

    Raises:
        ConfigError: with the smallest doubling that helps.
    """
    if prod(n // multiple for n, multiple in zip(size, multiples, strict=True)) == 1:
        wider = "x".join(str(n) for n in (size[0] * 2, *size[1:]))
        raise ConfigError(
            Code.CONFIG_NETWORK,
            f"sampling.patch_size: {'x'.join(str(n) for n in size)} leaves one voxel in the coarsest stage, "
            f"which cannot be normalised: give at least {wider}, or fewer stages",
        )


def _nearest(n: int, multiple: int) -> str:
    below = n // multiple * multiple
    return f"{below} or {below + multiple}" if below else f"{multiple}"


def _tell_unpooled(size: Sequence[int], axes: str, strides: Sequence[Sequence[int]]) -> None:
    """An odd size ends the pooling early, which costs field of view: worth a word."""
    for n, axis, total in zip(size, axes, total_stride(strides), strict=True):
        left, wanted = n // total, 2 ** (len(strides) - 1)
        if left % 2 and left // 2 >= SHORTEST and total < wanted:
            better = _nearest(n, min(wanted, total * 2))
            logger.warning(
                "patch size %d along %s can be halved only to %d; %s would see more", n, axis, left, better
            )
