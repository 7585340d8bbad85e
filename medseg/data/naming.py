"""What names of files tell: which is the scan, which the reference, and which name a case may have."""

import re
import unicodedata
from collections.abc import Sequence

MAX_ID_BYTES = 160
_FORBIDDEN = frozenset('/\\:*?"<>|')
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
"""What Windows takes for a device, whatever the ending."""
_LABEL = re.compile(
    r"(?<![a-z])(label|mask|gt|organ|tumou?r|contour|annotation|roi|rt_?struct|rtss|[cgip]tv(?![a-z]))|seg",
    re.IGNORECASE,
)
_LABEL_WORD = re.compile(
    r"(?<![a-z])(seg(mentations?)?|label(s|map)?|masks?|gtv?|contours?|annotations?)(?![a-z])", re.IGNORECASE
)
_IMAGE = re.compile(r"(?<![a-z])(image|img|ct|mr|t1|t2|scan|volume)|ct(?![a-z])", re.IGNORECASE)
_ROLE_SUFFIX = re.compile(
    r"[ ._-]+(seg(mentations?)?|labels?|labelmap|masks?|gt|image|img|scan|ct|mri?)$", re.IGNORECASE
)
LABEL_NAMES = "label*, *seg*, mask*, gt*, organs*, tumour*, contour*"
IMAGE_NAMES = "image*, img*, *ct*, mr*, t1*, t2*, scan*, volume*"


def safe_id(text: str) -> str:
    """``text`` as a file name that is safe everywhere: no separators, control characters or outer dots."""
    plain = unicodedata.normalize("NFC", text)
    plain = "".join(c if c.isprintable() and c not in _FORBIDDEN else "_" for c in plain)
    plain = plain.encode("utf-8")[:MAX_ID_BYTES].decode("utf-8", errors="ignore")
    plain = plain.strip(" .") or "case"
    return f"_{plain}" if _DEVICE.fullmatch(plain) else plain


def looks_like_label(stem: str) -> bool:
    """Whether a file of this name usually is a reference (``organs``, ``ct_seg``, ``gtv``)."""
    return _LABEL.search(stem) is not None


def is_called_label(stem: str) -> bool:
    """Stricter than :func:`looks_like_label`: a whole word, so that no patient named Segal is lost."""
    return _LABEL_WORD.search(stem) is not None


def looks_like_image(stem: str) -> bool:
    """Whether a file of this name usually is a scan (``ct``, ``planning_ct``, ``t1``) and no reference."""
    return not looks_like_label(stem) and _IMAGE.search(stem) is not None


def without_role(stem: str) -> str:
    """``p01_seg``, ``p01-label`` and ``p01_ct`` are all ``p01``."""
    return _ROLE_SUFFIX.sub("", stem)


def star_pattern(pattern: str) -> re.Pattern[str]:
    """A file pattern as a regular expression; group 1 is what its first ``*`` stands for, the case.

    >>> star_pattern("*_t2.nii.gz").fullmatch("p01_t2.nii.gz").group(1)
    'p01'
    """
    parts = []
    for character in pattern:
        if character == "*":
            parts.append(".*" if "(.*)" in parts else "(.*)")
        else:
            parts.append("." if character == "?" else re.escape(character))
    return re.compile("".join(parts))


def listed(names: Sequence[str], most: int = 4) -> str:
    """``a, b, c and 12 more``: no line of an error gets endless."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
