"""How much of a page its viewers may take, and who gets one where there is not room for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medseg.report.case_view import CASE_BYTES, CaseView

PAGE_BYTES = 27_000_000
"""All viewers of a page together, as they stand in it (base64); with the rest it stays under 30 MB."""
LEAST_CASE_BYTES = 140_000
"""Below this a case is no longer worth looking at: rather fewer cases."""


def bytes_for_a_case(cases: int) -> int:
    """What one of so many cases may take, before base64, which is a third longer."""
    share = int(0.95 * PAGE_BYTES * 3 / 4 / max(cases, 1))
    return min(CASE_BYTES, max(LEAST_CASE_BYTES, share))


@dataclass(frozen=True)
class Shown:
    """The viewers of a page, worst case first, and how many cases have none for want of room."""

    views: Mapping[str, CaseView]
    left_out: int

    @classmethod
    def of(
        cls, worst_first: Sequence[str], views: Mapping[str, CaseView], page_bytes: int = PAGE_BYTES
    ) -> "Shown":
        """As many as fit, the worst first; a page has at least one."""
        chosen: dict[str, CaseView] = {}
        taken = 0
        pictured = [case for case in worst_first if case in views]
        for case in pictured:
            taken += views[case].bytes_in_page
            if chosen and taken > page_bytes:
                break
            chosen[case] = views[case]
        return cls(chosen, len(pictured) - len(chosen))
