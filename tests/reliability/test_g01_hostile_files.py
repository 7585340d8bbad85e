"""Row G01: 72 hostile files, each accepted with the exact grid and values, or refused with its code."""

import re
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from medseg.data import Case
from medseg.data.loading import load_case
from medseg.errors import Code, MedsegError
from medseg.io import read_geometry, read_label, read_volume
from support.hostile_files import AFFINE, FILES, MASK, MISMATCHES, VALUES, Hostile, Mismatch, Truth

SECONDS, BYTES = 10, 1 << 30
FIX = re.compile(
    r"[;:] (copy|export|give|choose|repair|convert|extract|write|correct|resample|unpack|allow)\b"
)


def told_well(error: MedsegError) -> bool:
    """One line: the file, what was found, and what to do about it."""
    return len(error.problems) == 1 and FIX.search(str(error)) is not None


def test_the_table_is_whole():
    assert len(FILES) + len(MISMATCHES) == 72
    assert {Path(each.name).suffix for each in FILES} == {".nii", ".gz", ".nrrd", ".mha"}


@pytest.mark.row("G01")
@pytest.mark.parametrize("hostile", FILES, ids=lambda hostile: hostile.what)
def test_a_hostile_file(tmp_path: Path, hostile: Hostile):
    path = tmp_path / hostile.name
    path.write_bytes(hostile.content)
    read = read_label if hostile.label else read_volume
    tracemalloc.start()
    began = time.monotonic()
    try:
        if isinstance(hostile.verdict, Truth):
            volume = read(path)
            np.testing.assert_array_equal(volume.array, hostile.verdict.array)
            np.testing.assert_allclose(volume.geometry.affine, hostile.verdict.affine, rtol=0, atol=1e-6)
            assert read_geometry(path) == volume.geometry
        else:
            with pytest.raises(MedsegError) as caught:
                read(path)
            assert caught.value.code == hostile.verdict
            assert told_well(caught.value) and path.name in str(caught.value)
        assert time.monotonic() - began < SECONDS
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.row("G01")
@pytest.mark.parametrize("mismatch", MISMATCHES, ids=lambda mismatch: mismatch.what)
def test_files_that_do_not_belong_together(tmp_path: Path, mismatch: Mismatch):
    for name, content in (*mismatch.images, *([mismatch.label] if mismatch.label else [])):
        (tmp_path / name).write_bytes(content)
    label = tmp_path / mismatch.label[0] if mismatch.label else None
    case = Case("p7", tuple(tmp_path / name for name, _ in mismatch.images), label)
    labels = {f"organ_{value}": value for value in range(1, 26)}
    if mismatch.verdict is None:
        loaded = load_case(case, labels)
        for image in loaded.images:
            np.testing.assert_array_equal(image.array, VALUES)
            np.testing.assert_allclose(image.geometry.affine, AFFINE, rtol=0, atol=0.011)
        if loaded.label is not None:
            np.testing.assert_array_equal(loaded.label.array, MASK)
            np.testing.assert_allclose(loaded.label.geometry.affine, AFFINE, rtol=0, atol=1e-6)
        return
    with pytest.raises(MedsegError) as caught:
        load_case(case, labels)
    assert caught.value.code == mismatch.verdict
    assert told_well(caught.value) and "p7" in str(caught.value)
    if mismatch.verdict == Code.GRID_MISMATCH and "shapes" not in mismatch.what:
        assert " mm" in str(caught.value)
