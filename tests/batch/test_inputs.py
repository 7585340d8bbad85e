"""Which files decide a scan, and when they count as changed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medseg.batch.inputs import content_hash, files_of, seen_images
from support.batches import write_series


@pytest.fixture
def series(tmp_path: Path) -> Path:
    (tmp_path / "ct").mkdir()
    write_series(tmp_path / "ct", range(4))
    return tmp_path / "ct"


def test_the_slices_of_a_series_count_and_their_names_do_not(series: Path, tmp_path: Path) -> None:
    before = content_hash(series)
    copy = shutil.copytree(series, tmp_path / "copy")
    for number, path in enumerate(sorted(copy.iterdir())):
        path.rename(copy / f"renamed{9 - number}")
    assert content_hash(copy) == before
    data = bytearray((series / "002.dcm").read_bytes())
    data[-1] ^= 1
    (series / "002.dcm").write_bytes(data)
    assert content_hash(series) != before
    assert len(files_of(series / "001.dcm")) == 4, "a slice stands for its series"


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_voxels_in_a_file_of_their_own_count(suffix: str, tmp_path: Path) -> None:
    header = tmp_path / f"scan{suffix}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((4, 5, 6), np.int16)), header)
    (voxels,) = [path for path in tmp_path.iterdir() if path != header]
    assert set(files_of(header)) == {header, voxels}
    before = content_hash(header)
    voxels.write_bytes(voxels.read_bytes()[:-1] + b"\1")
    assert content_hash(header) != before


def test_a_file_that_was_touched_or_removed_is_seen(tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii"
    scan.write_bytes(b"x")
    before = seen_images([scan])
    assert seen_images([scan]) == before
    found = scan.stat()
    scan.write_bytes(b"y")
    os.utime(scan, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert seen_images([scan]) != before, "its time was set back, the time of its change cannot be"
    scan.unlink()
    assert seen_images([scan]) != before


def test_what_would_block_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scan.nii")
    assert files_of(tmp_path / "scan.nii") == ()
    assert seen_images([tmp_path / "scan.nii"])
    assert content_hash(tmp_path / "scan.nii")


def test_what_is_gone_is_told_by_reading(tmp_path: Path) -> None:
    for gone in (tmp_path / "gone" / "001.dcm", tmp_path / "gone.nii", tmp_path / "gone.mhd"):
        assert files_of(gone) == ()
        assert seen_images([gone])
