"""Where a report comes from, as rows to read; the whole record is beside them."""

from collections.abc import Iterator, Mapping, Sequence

_LONGEST, _MOST_LISTED, _HASH_LETTERS = 300, 4, 12


def origin_rows(record: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """(name, value) of everything that is short enough to read: no lists of files and hashes of cases."""
    return tuple(_rows("", record))


def _rows(before: str, record: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            if len(value) > _MOST_LISTED and all(_is_hash(each) for each in value.values()):
                yield name, f"{len(value)} entries with their hashes"
            elif len(value) > _MOST_LISTED and all(isinstance(each, Mapping) for each in value.values()):
                yield name, f"{len(value)} entries"  # one a case
            elif len(value) > _MOST_LISTED and all(_is_word(each) for each in value.values()):
                yield name, ", ".join(f"{key} {each}" for key, each in value.items())
            elif value and before.count(", ") < 2:
                yield from _rows(f"{name}, ", value)
            elif value:
                yield name, f"{len(value)} entries"
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if len(value) > _MOST_LISTED:
                yield name, f"{len(value)} entries"
            elif value:
                yield name, ", ".join(_short(each) for each in value)
        elif value is not None and value != "":
            yield name, _short(value)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) >= _HASH_LETTERS and set(value) <= set("0123456789abcdef")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) < 20


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
