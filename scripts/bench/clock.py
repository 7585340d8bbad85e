"""Patches a second of a stream of batches, once it runs."""

import time
from collections.abc import Iterator
from typing import Any


def patches_a_second(batches: Iterator[Any], batch_size: int, warm_up: float, seconds: float) -> float:
    """Batches are taken and dropped: those of the first ``warm_up`` seconds (one at least) do not count."""
    begin = time.perf_counter()
    while True:
        next(batches)
        if time.perf_counter() - begin > warm_up:
            break
    count, begin = 0, time.perf_counter()
    while True:
        next(batches)
        count += batch_size
        spent = time.perf_counter() - begin
        if spent > seconds:
            return count / spent
