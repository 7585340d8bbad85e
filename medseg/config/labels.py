"""Left/right pairs, known from the structures' names."""

import re

_SIDE = re.compile(r"(?<![A-Za-z])(left|right|l|r)(?![A-Za-z])", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


def find_left_right_pairs(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Pairs of names that differ only in left/right (or L/R as a word of its own), left first.

    >>> find_left_right_pairs(("liver", "kidney_right", "kidney_left"))
    (('kidney_left', 'kidney_right'),)
    """
    plain = {name.lower(): name for name in names}
    pairs = []
    for name in names:
        match = _SIDE.search(name.replace("_", " "))
        if match is None or match.group(1).lower() not in ("left", "l"):
            continue
        side = match.group(1).lower()
        mirrored = name[: match.start()] + _OTHER[side] + name[match.end() :]
        partner = plain.get(mirrored.lower())
        if partner is not None:
            pairs.append((name, partner))
    return tuple(pairs)
