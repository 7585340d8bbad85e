"""A name means a whole file; what killed processes leave behind can be swept away."""

import errno
import os

import pytest

from medseg.errors import Code, EnvironmentProblem
from medseg.files import (
    cannot_write,
    named_when_whole,
    sweep_temporary,
    sync_folder,
    write_json_atomically,
    write_text_atomically,
)


def test_a_file_appears_whole_with_the_usual_permissions(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text_atomically(path, "first\n")
    write_text_atomically(path, "second\n")
    assert path.read_text() == "second\n"
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]


def test_names_that_are_not_utf8_can_be_told(tmp_path):
    write_json_atomically(tmp_path / "a.json", {"file": os.fsdecode(b"scan\xff.nii")})
    assert b"scan\\udcff.nii" in (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_whatever_stops_the_writer_nothing_is_left(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), named_when_whole(path, ".bin") as temporary:
        temporary.write_bytes(b"half")
        assert temporary.parent == tmp_path and temporary.name.startswith(".medseg-")
        raise error
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_sweeping_takes_leftovers_alone(tmp_path):
    kept = [".medseg-lock", ".medseg-0123abcd", ".medseg-0123abcg.tmp", "scan.nii.gz", ".hidden.tmp"]
    gone = [".medseg-0123abcd.tmp", ".medseg-ffffffff.nii.gz", ".medseg-00000000.mha"]
    for name in kept + gone:
        (tmp_path / name).touch()
    (tmp_path / ".medseg-12345678.tmp").mkdir()
    assert sweep_temporary(tmp_path) == len(gone)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([*kept, ".medseg-12345678.tmp"])
    assert sweep_temporary(tmp_path) == 0 and sweep_temporary(tmp_path / "none") == 0


def test_what_a_killed_writer_leaves_is_swept(tmp_path):
    child = os.fork()
    if child == 0:
        with named_when_whole(tmp_path / "mask.nii.gz", ".nii.gz") as temporary:
            temporary.write_bytes(b"half")
            os._exit(0)  # as SIGKILL does: nothing is cleared away
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    assert sweep_temporary(tmp_path) == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "code", "fix"),
    [
        (errno.ENOSPC, Code.DISK_FULL, "free some disk space"),
        (errno.EDQUOT, Code.DISK_FULL, "quota"),
        (errno.EIO, Code.CANNOT_WRITE, "the disk or the way to it fails"),
        (errno.EACCES, Code.CANNOT_WRITE, "you may write to"),
        (errno.EROFS, Code.CANNOT_WRITE, "not read-only"),
        (errno.ENAMETOOLONG, Code.CANNOT_WRITE, "shorter name"),
        (errno.ENODEV, Code.CANNOT_WRITE, "another output folder"),
    ],
)
def test_each_failure_has_its_fix(tmp_path, number, code, fix):
    problem = cannot_write(tmp_path / "a.nii", OSError(number, os.strerror(number)))
    assert problem.code == code and fix in str(problem) and str(tmp_path / "a.nii") in str(problem)


def test_a_folder_where_a_file_lies(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match="a file"):
        write_text_atomically(tmp_path / "file" / "a.txt", "x")


@pytest.mark.parametrize(("number", "raises"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_folders_that_cannot_be_flushed(tmp_path, monkeypatch, number, raises):
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    if raises:
        with pytest.raises(OSError, match="Input/output"):
            sync_folder(tmp_path)
    else:
        sync_folder(tmp_path)
