"""Feeding damaged bytes to a reader, for a time or a number: all that may come out is a MedsegError.

Everything is drawn from one seed, so that a crash can be had again from its seed and its number.
"""

import random
import re
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from medseg.errors import MedsegError

_WHOLE = (0, 1, -1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1)
_LONG = (*_WHOLE, 2**63 - 1, -(2**63), 2**64 - 1, 10**12)
_REAL = (0.0, -0.0, 1e-45, 1e-30, 1e30, 1e308, float("nan"), float("inf"), float("-inf"), 0.1, -1.0)
_WORDS = (
    b"0", b"-1", b"1e308", b"-1e308", b"nan", b"inf", b"9999999999999999999999", b"0x1f", b"1_0", b"", b" ",
    b"\0", b"\n", b"\r\n", b"\t", b"=", b":", b",", b'"', b"'", b"{", b"}", b"[", b"]", b"{}", b"[]", b"null",
    b"true", b"../", b"/etc/passwd", b"%", b"\xff\xfe", b"\xef\xbb\xbf", "²".encode(), "é\u202e".encode(),
    b"!!binary ", b"&a ", b"*a", b"<<: ", b"- ", b"? ", b"|", b">",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")

LONGEST_SECONDS = 10.0
"""Of processor, for one input: more is a hang."""


@dataclass
class Outcome:
    """``crashes``: number of the input, its bytes, and what came out of the reader."""

    executions: int = 0
    refused: int = 0
    slowest_seconds: float = 0.0
    crashes: list[tuple[int, bytes, Exception]] = field(default_factory=list)


def fuzz(
    seeds: Sequence[bytes],
    use: Callable[[bytes], object],
    *,
    seconds: float | None = None,
    executions: int | None = None,
    seed: int = 0,
    most_crashes: int = 3,
) -> Outcome:
    """Call ``use`` with mutations of ``seeds`` until the time is up, or so many times."""
    outcome, end = Outcome(), time.monotonic() + (seconds if seconds is not None else float("inf"))
    while time.monotonic() < end and outcome.executions != executions:
        number = outcome.executions
        data = mutated(random.Random(seed * 1_000_003 + number), seeds)
        start = time.process_time()
        try:
            use(data)
        except MedsegError:
            outcome.refused += 1
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            outcome.crashes.append((number, data, error))
        outcome.slowest_seconds = max(outcome.slowest_seconds, time.process_time() - start)
        outcome.executions += 1
        if len(outcome.crashes) >= most_crashes:
            break
    return outcome


def mutated(draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of ``seeds`` with one to five changes."""
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 5))):
        draw.choice(_CHANGES)(draw, data, seeds)
    return bytes(data)


def _place(draw: random.Random, data: bytearray) -> int:
    """Anywhere, but mostly near the start, where headers are."""
    most = len(data) if draw.random() < 0.3 else min(len(data), 600)
    return draw.randrange(most) if most else 0


def _flip_bits(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    for _number in range(draw.choice((1, 1, 2, 8))):
        if data:
            data[_place(draw, data)] ^= 1 << draw.randrange(8)


def _set_bytes(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(draw, data)
    data[at : at + draw.choice((1, 2, 4))] = draw.randbytes(draw.choice((1, 2, 4)))


def _set_number(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """An extreme of two, four or eight bytes, whole or real, in either byte order."""
    at, order = _place(draw, data), draw.choice("<>")
    size, kind = draw.choice(((2, ""), (4, ""), (8, ""), (4, "f"), (8, "d")))
    if kind:
        real = draw.choice([value for value in _REAL if kind == "d" or abs(value) != 1e308])
        value = struct.pack(order + kind, real)
    else:
        value = (draw.choice(_LONG) % (1 << (8 * size))).to_bytes(size, "little" if order == "<" else "big")
    data[at : at + size] = value


def _set_text_number(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    found = list(_NUMBER.finditer(bytes(data[:20_000])))
    if found:
        start, end = draw.choice(found).span()
        data[start:end] = draw.choice(
            (str(draw.choice(_LONG)).encode(), repr(draw.choice(_REAL)).encode(), b"9" * 5000)
        )


def _insert_word(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(draw, data)
    data[at : at + draw.choice((0, 0, 1, 5))] = draw.choice(_WORDS) * draw.choice((1, 1, 1, 3))


def _cut(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(draw, data)
    del data[at : at + draw.choice((1, 2, 4, 16, 100))]


def _repeat(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(draw, data)
    piece = data[at : at + draw.choice((1, 4, 16, 100))]
    data[at:at] = piece * draw.choice((1, 2, 10))


def _truncate(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[draw.randrange(len(data) + 1) :]


def _splice(draw: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = draw.choice(seeds)
    start = draw.randrange(len(other) + 1)
    data[_place(draw, data) :] = other[start:]


def _move_line(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    lines = bytes(data).split(b"\n")
    if len(lines) > 2:
        line = lines.pop(draw.randrange(len(lines)))
        lines.insert(draw.randrange(len(lines)), b" " * draw.choice((0, 0, 2)) + line)
        data[:] = b"\n".join(lines)


_CHANGES: tuple[Callable[[random.Random, bytearray, Sequence[bytes]], None], ...] = (
    _flip_bits, _set_bytes, _set_number, _set_number, _set_text_number, _insert_word, _cut, _repeat,
    _truncate, _splice, _move_line,
)  # fmt: skip
