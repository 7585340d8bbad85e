"""NRRD and MetaImage headers: what ITK would guess is refused, and what ITK cannot hold is read."""

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from medseg.errors import Code, VolumeError
from medseg.io import read_geometry, read_volume, write_volume
from medseg.volume import Geometry, Volume
from support.raw_volumes import AFFINE, metaimage, nrrd, values


def code(path, content: bytes) -> Code:
    path.write_bytes(content)
    with pytest.raises(VolumeError) as caught:
        read_volume(path)
    assert path.name in str(caught.value) and ";" in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"space": "scanner-xyz"}, Code.NO_ORIENTATION),
        ({"space": None}, Code.NO_ORIENTATION),
        ({"space_origin": None}, Code.NO_ORIENTATION),
        ({"space_directions": None}, Code.NO_ORIENTATION),
        ({"space_directions": "(2,0,0) (0,1.5,0)"}, Code.HEADER),
        ({"space_directions": "(2,0,0) (0,one,0) (0,0,3)"}, Code.HEADER),
        ({"space_directions": "(2,0,0) (0,nan,0) (0,0,3)"}, Code.HEADER),
        ({"space_directions": "(2,0,0) (0,1.5,0) (0,0,3) and more"}, Code.HEADER),
        ({"space_units": '"cm" "cm" "cm"'}, Code.UNIT),
        ({"endian": None}, Code.HEADER),
        ({"encoding": "bzip2"}, Code.UNSUPPORTED),
        ({"byte_skip": "-1"}, Code.UNSUPPORTED),
        ({"data_file": "LIST"}, Code.UNSUPPORTED),
        ({"data_file": "/etc/hostname"}, Code.UNSUPPORTED),
        ({"data_file": "../other/patient.raw"}, Code.UNSUPPORTED),
        ({"data_file": "gone.raw"}, Code.NO_FILE),
        ({"dimension": "4"}, Code.HEADER),
        ({"sizes": "5 4 -3"}, Code.HEADER),
        (
            {"sizes": "5 4 3 2", "dimension": "4", "space_directions": "(2,0,0) (0,1,0) (0,0,3) none"},
            Code.NOT_3D,
        ),
        ({"type": "block"}, Code.VOXEL_TYPE),
        ({"content": "x\nno field"}, Code.HEADER),
        ({"content": "x\ntype: uchar"}, Code.HEADER),
    ],
    ids=str,
)  # fmt: skip
def test_nrrd_headers_that_are_refused(tmp_path, fields, expected):
    assert code(tmp_path / "a.nrrd", nrrd(**fields)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"TransformMatrix": None}, Code.NO_ORIENTATION),
        ({"Offset": None}, Code.NO_ORIENTATION),
        ({"ElementSpacing": None}, Code.NO_ORIENTATION),
        ({"ElementSpacing": "2,0 1,5 3,0"}, Code.HEADER),  # ITK reads 2 1 3
        ({"ElementSpacing": "2 1.5"}, Code.HEADER),
        ({"ElementSpacing": "2 -1.5 3"}, Code.HEADER),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 one"}, Code.HEADER),  # ITK reads 0 for it
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 0"}, Code.AFFINE),
        ({"HeaderSize": "-1"}, Code.UNSUPPORTED),
        ({"BinaryData": "False"}, Code.UNSUPPORTED),
        ({"ElementToIntensityFunctionSlope": "2"}, Code.UNSUPPORTED),
        ({"ElementToIntensityFunctionSlope": "two"}, Code.HEADER),
        ({"ElementNumberOfChannels": "3"}, Code.COLOUR),
        ({"BinaryDataByteOrderMSB": "perhaps"}, Code.HEADER),
        ({"NDims": "2"}, Code.HEADER),
        ({"DimSize": "5 4 99999999999"}, Code.HEADER),
        ({"ElementType": "MET_STRING"}, Code.VOXEL_TYPE),
        ({"Comment": "x\nDimSize = 1 1 1"}, Code.HEADER),
    ],
    ids=str,
)
def test_metaimage_headers_that_are_refused(tmp_path, fields, expected):
    assert code(tmp_path / "a.mha", metaimage(**fields)) == expected


def test_headers_cut_short(tmp_path):
    assert code(tmp_path / "a.nrrd", nrrd()[:100]) == Code.TRUNCATED
    assert code(tmp_path / "b.nrrd", nrrd().split(b"\n\n")[0] + b"\n") == Code.TRUNCATED
    assert code(tmp_path / "a.mha", metaimage()[:100]) == Code.TRUNCATED


def test_more_bytes_than_declared_are_refused(tmp_path):
    assert code(tmp_path / "a.nrrd", nrrd() + b"more") == Code.SURPLUS_BYTES
    assert code(tmp_path / "a.mha", metaimage() + b"more") == Code.SURPLUS_BYTES
    more = values().tobytes("F") + b"more"
    assert code(tmp_path / "b.nrrd", nrrd(data=gzip.compress(more))) == Code.SURPLUS_BYTES
    assert code(tmp_path / "b.mha", metaimage(data=zlib.compress(more))) == Code.SURPLUS_BYTES


@pytest.mark.parametrize(
    ("space", "signs"),
    [("right-anterior-superior", (1, 1, 1)), ("RAS", (1, 1, 1)), ("LAS", (-1, 1, 1)), ("LPS", (-1, -1, 1))],
)
def test_spaces_of_nrrd(tmp_path, space, signs):
    path = tmp_path / "a.nrrd"
    path.write_bytes(nrrd(space=space, space_directions="(2,0,0) (0,1.5,0) (0,0,3)", space_origin="(4,5,6)"))
    expected = np.diag([*signs, 1]) @ [[2, 0, 0, 4], [0, 1.5, 0, 5], [0, 0, 3, 6], [0, 0, 0, 1]]
    np.testing.assert_array_equal(read_geometry(path).affine, expected)


def test_keys_comments_and_a_component_axis_of_one(tmp_path):
    content = nrrd(sizes="1 5 4 3", dimension="4", space_directions="none (2,0,0) (0,1.5,0) (0,0,3)",
                   content="a scan\n# sizes: 9 9 9\nsizes:=9 9 9\nspace:=RAS")  # fmt: skip
    head, blank, voxels = content.partition(b"\n\n")
    (tmp_path / "a.nrrd").write_bytes((head + blank).replace(b"\n", b"\r\n") + voxels)
    volume = read_volume(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(volume.array, values())
    np.testing.assert_array_equal(volume.geometry.affine, AFFINE)


SHEARED = np.array([[-2.0, 0, 0, 20], [0, -1.5, 1.0, 15], [0, 0, 3.0, -100], [0, 0, 0, 1]])


@pytest.mark.parametrize(("name", "made"), [("a.nrrd", nrrd), ("a.mha", metaimage)])
def test_sheared_axes_are_read_exactly(tmp_path, name, made):
    (tmp_path / name).write_bytes(made(affine=SHEARED))
    np.testing.assert_allclose(read_geometry(tmp_path / name).affine, SHEARED, rtol=0, atol=1e-12)


def _oblique() -> Geometry:
    a, b = np.deg2rad((20, -35))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z * (0.7, 0.9, 2.5)
    affine[:3, 3] = (-123.4, 56.7, 1203.9)
    return Geometry((5, 4, 3), affine)


OBLIQUE = _oblique()


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4"])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_itk_reads_what_is_written(tmp_path, suffix, dtype):
    factor = {"u1": 1, "i2": 1, "u2": 60, "i4": 70, "u4": 4_000_000, "i8": 2**40, "f4": 0.5}[dtype]
    numbers = np.abs(values("i8")) % 250 if dtype[0] == "u" else values("i8")
    volume = Volume(numbers * factor, OBLIQUE)
    write_volume(volume, tmp_path / f"a{suffix}")
    assert read_volume(tmp_path / f"a{suffix}").array.dtype == np.dtype(dtype)
    image = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), volume.array)
    for index in [(0, 0, 0), (4, 3, 2), (1, 0, 2)]:
        world = volume.geometry.to_world(np.array([index], dtype=np.float64))[0]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), world * (-1, -1, 1), atol=1e-9)
