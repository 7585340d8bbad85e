"""Left/right pairs, known from the structures' names."""

import re

_LEFT = re.compile(r"(?<![A-Za-z])(left|l)(?![A-Za-z])", re.IGNORECASE)
_RIGHT = {"left": "right", "l": "r"}


def find_left_right_pairs(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Pairs of names that differ only in left/right (or L/R as a word of its own), left first.

    >>> find_left_right_pairs(("liver", "kidney_right", "kidney_left"))
    (('kidney_left', 'kidney_right'),)
    """
    plain = {name.lower(): name for name in names}
    pairs = []
    for name in names:
        for match in _LEFT.finditer(name.replace("_", " ")):  # "L4_left" has two that might be the side
            mirrored = name[: match.start()] + _RIGHT[match.group().lower()] + name[match.end() :]
            partner = plain.get(mirrored.lower())
            if partner is not None:
                pairs.append((name, partner))
                break
    return tuple(pairs)
