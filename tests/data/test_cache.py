"""The cache: what comes out is what went in, or nothing does."""

import errno
import json
import os
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medseg.data import Case, PreparedCache, default_cache
from medseg.errors import CohortError, EnvironmentProblem

KEY = "0123456789abcdef"


def arrays(value: int = 1) -> dict[str, np.ndarray]:
    return {"image": np.full((1, 4, 3, 2), value, dtype=np.float32), "label": np.eye(3, dtype=np.uint8)}


@pytest.fixture
def cache(tmp_path: Path) -> PreparedCache:
    return PreparedCache(tmp_path / "cache")


def entry(cache: PreparedCache, key: str = KEY) -> Path:
    return cache.folder / key[:2] / key


def leftovers(cache: PreparedCache) -> list[Path]:
    return [path for path in cache.folder.rglob("*") if ".new-" in path.name]


def test_there_and_back(cache: PreparedCache) -> None:
    assert cache.get(KEY) is None and cache.meta(KEY) is None
    cache.put(KEY, arrays(), {"spacing_mm": [1, 2, 3]})
    found = cache.get(KEY)
    assert found is not None and list(found) == ["image", "label"]
    assert all(
        (found[name] == array).all() and found[name].dtype == array.dtype for name, array in arrays().items()
    )
    assert isinstance(found["image"], np.memmap) and not found["image"].flags.writeable
    assert cache.meta(KEY) == {"spacing_mm": [1, 2, 3]}
    assert not leftovers(cache)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def other_shape(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((1, 2, 3, 4), dtype=np.float32))


DAMAGE = [flip_a_bit, truncate, other_shape, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["image.npy", "meta.json"])
def test_damage_is_never_used(cache: PreparedCache, damage: object, name: str) -> None:
    cache.put(KEY, arrays())
    damage(entry(cache) / name)  # type: ignore[operator]
    fresh = PreparedCache(cache.folder)
    assert fresh.get(KEY) is None
    assert not entry(cache).exists() and not leftovers(cache)
    fresh.put(KEY, arrays(2))
    found = fresh.get(KEY)
    assert found is not None and found["image"].max() == 2


def test_truncation_is_seen_within_one_run(cache: PreparedCache) -> None:
    cache.put(KEY, arrays())
    assert cache.get(KEY) is not None
    truncate(entry(cache) / "image.npy")
    assert cache.get(KEY) is None


def test_pickles_are_not_loaded(cache: PreparedCache) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        cache.put(KEY, {"image": np.array([object()])})
    cache.put(KEY, arrays())
    meta = json.loads((entry(cache) / "meta.json").read_text())
    np.save(entry(cache) / "image.npy", np.array([{"a": 1}]), allow_pickle=True)
    content = (entry(cache) / "image.npy").read_bytes()
    meta["arrays"]["image"].update(bytes=len(content), crc32=zlib.crc32(content), shape=[1], dtype="object")
    (entry(cache) / "meta.json").write_text(json.dumps(meta))
    assert PreparedCache(cache.folder).get(KEY) is None


@pytest.mark.parametrize("key", ["../../etc", "short", "", "0123/456789", "..abcdefgh"])
def test_keys_stay_in_the_folder(cache: PreparedCache, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        cache.get(key)


def test_names_of_arrays_stay_in_the_folder(cache: PreparedCache) -> None:
    with pytest.raises(ValueError, match="no name"):
        cache.put(KEY, {"../image": np.zeros(1)})
    assert not leftovers(cache)


def test_many_at_once(cache: PreparedCache) -> None:
    big = {"image": np.arange(20_000, dtype=np.float32)}

    def work(number: int) -> bool:
        mine = PreparedCache(cache.folder)
        mine.put(KEY, big)
        found = mine.get(KEY)
        return found is not None and bool((found["image"] == big["image"]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32)))
    assert not leftovers(cache)


def test_a_full_disk_is_told(cache: PreparedCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", lambda *args, **kwargs: full())
    with pytest.raises(EnvironmentProblem, match=r"cache.*disk is full"):
        cache.put(KEY, arrays())
    assert not leftovers(cache)


def test_an_entry_in_the_way_is_no_folder(cache: PreparedCache) -> None:
    cache.folder.mkdir()
    (cache.folder / KEY[:2]).write_text("a file")
    assert cache.get(KEY) is None
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        cache.put(KEY, arrays())


def test_prune_removes_what_was_used_longest_ago(cache: PreparedCache) -> None:
    keys = [f"{n}{KEY}" for n in range(4)]
    for age, key in enumerate(keys):
        cache.put(key, arrays())
        os.utime(entry(cache, key) / "meta.json", (time.time() - 100 + age,) * 2)
    assert cache.get(keys[0]) is not None  # used just now
    each = cache.size_bytes() // 4
    assert cache.prune(2 * each) == 2 * each
    assert [key for key in keys if cache.get(key)] == [keys[0], keys[3]]
    assert cache.prune(0) == 2 * each
    assert cache.size_bytes() == 0


def test_prune_clears_what_killed_runs_left(cache: PreparedCache) -> None:
    cache.put(KEY, arrays())
    old, young = entry(cache).parent / ".new-old", entry(cache).parent / ".new-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, 0))
    cache.prune(1 << 30)
    assert not old.exists() and young.exists() and cache.get(KEY) is not None


def case_of(folder: Path, image: bytes = b"image", label: bytes | None = b"label") -> Case:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "i.nii").write_bytes(image)
    if label is not None:
        (folder / "l.nii").write_bytes(label)
    return Case("a", (folder / "i.nii",), folder / "l.nii" if label is not None else None)


def test_keys_are_content(cache: PreparedCache, tmp_path: Path) -> None:
    first = cache.key(case_of(tmp_path / "x"), "{}")
    assert first == cache.key(case_of(tmp_path / "elsewhere"), "{}")
    others = [
        cache.key(case_of(tmp_path / "x", image=b"imagf"), "{}"),
        cache.key(case_of(tmp_path / "x", label=b"labem"), "{}"),
        cache.key(case_of(tmp_path / "x", label=None), "{}"),
        cache.key(case_of(tmp_path / "x", image=b"imagel", label=b"abel"), "{}"),
        cache.key(case_of(tmp_path / "x"), '{"a": 1}'),
    ]
    assert len({first, *others}) == 6


def test_every_slice_counts(cache: PreparedCache, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.dcm").write_bytes(bytes([number]))
    before = cache.key(Case("a", (tmp_path,)), "")
    one = cache.key(Case("a", (tmp_path / "0.dcm",)), "")
    (tmp_path / "2.dcm").write_bytes(b"x")
    assert cache.key(Case("a", (tmp_path,)), "") != before
    assert cache.key(Case("a", (tmp_path / "0.dcm",)), "") != one


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("v.mhd", b"NDims = 3\nElementDataFile = v.raw\n"),
        ("v.nhdr", b"NRRD0004\ndata file: v.raw\n"),
        ("v.mhd", b"LIST"),
    ],
)
def test_voxels_beside_a_header_count(cache: PreparedCache, tmp_path: Path, name: str, header: bytes) -> None:
    (tmp_path / name).write_bytes(header)
    (tmp_path / "v.raw").write_bytes(b"1")
    before = cache.key(Case("a", (tmp_path / name,)), "")
    (tmp_path / "v.raw").write_bytes(b"2")
    assert cache.key(Case("a", (tmp_path / name,)), "") != before


def test_missing_files_name_the_case(cache: PreparedCache, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"case a: .* cannot be read"):
        cache.key(Case("a", (tmp_path / "gone.nii",)), "")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSEG_CACHE", "/a")
    assert default_cache() == Path("/a")
    monkeypatch.delenv("MEDSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert default_cache() == Path("/b/medseg")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "medseg"
