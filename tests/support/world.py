"""A place to let malicious files loose in: a canary that must not appear, and a tree that must not change."""

import hashlib
import os
from pathlib import Path


class World:
    """``root`` holds a user's other files, ``place`` the malicious file, and ``out`` takes results."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.canary = root / "canary"
        self.place = root / "home" / "downloads" / "case"
        self.out = root / "home" / "out"
        for folder in (self.place, self.out, root / "home" / "documents", root / "tmp"):
            folder.mkdir(parents=True)
        for name in ("documents/thesis.txt", ".profile", "ct.nii.gz"):
            (root / "home" / name).write_text(f"mine: {name}")
        self._environment = dict(os.environ)
        self._before = self._state()

    def mark(self) -> None:
        """What is there now is as it should be."""
        self._before = self._state()

    def require_untouched(self) -> None:
        """Fail when code ran, the environment changed, or anything but ``out`` did."""
        if self.canary.exists():
            raise AssertionError("the canary is there: code of a malicious file ran")
        added = {name for name in os.environ if name not in self._environment} - {"PYTEST_CURRENT_TEST"}
        if added:
            raise AssertionError(f"the environment has {added}")
        after = self._state()
        changed = {name for name in self._before | after if self._before.get(name) != after.get(name)}
        if changed:
            raise AssertionError(f"changed outside the output folder: {sorted(changed)}")

    def _state(self) -> dict[str, str]:
        """Every path but those in ``out``, and what it holds."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            if path == self.out or self.out in path.parents:
                continue
            kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file"
            content = str(path.readlink()) if kind == "link" else ""
            if kind == "file" and path.is_file():
                content = hashlib.sha256(path.read_bytes()[: 1 << 20]).hexdigest()
            found[str(path.relative_to(self.root))] = f"{kind} {content}"
        return found
