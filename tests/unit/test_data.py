"""Photographs to train on."""

import tarfile

import numpy as np
import pytest

from impasto.errors import InputError
from impasto.train.data import Crops, check_photographs, items, load_photographs
from tiny import write_photographs


@pytest.fixture
def folder(tmp_path):
    return write_photographs(tmp_path / "photographs", 10)


def test_what_cannot_be_read_is_named_and_left_out(folder):
    write_photographs(folder / "deeper", 1)
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty.jpg").touch()
    whole = (folder / "00.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    write_photographs(folder / "small", 1, side=32)
    notes = []
    found = load_photographs(folder, least_side=64, on_note=notes.append)
    assert len(found) == 11
    assert {name.partition(":")[0] for name in found.skipped} == {"empty.jpg", "cut.png", "small/00.png"}
    assert all(name in notes[0] for name in ("empty.jpg", "cut.png", "48x32 px"))
    assert "notes.txt" not in notes[0]


def test_too_few_photographs_are_an_error(folder):
    (folder / "00.png").unlink()
    (folder / "01.png").unlink()
    (folder / "02.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"7 usable photographs.*; training needs 8"):
        load_photographs(folder, least_side=64)
    with pytest.raises(InputError, match="no folder"):
        load_photographs(folder / "nowhere", least_side=64)


def test_a_shard_gives_what_its_folder_gives(folder, tmp_path):
    shard = tmp_path / "photographs.tar"
    (folder / "00.json").write_text("{}")
    with tarfile.open(shard, "w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    plain, packed = load_photographs(folder, least_side=64), load_photographs(shard, least_side=64)
    assert len(packed) == 10
    assert all(np.array_equal(one, two) for one, two in zip(plain.pixels, packed.pixels, strict=True))


def test_several_folders_give_what_each_gives(folder, tmp_path):
    other = write_photographs(tmp_path / "others", 8)
    both = load_photographs([folder, other], least_side=64).pixels
    apart = [*load_photographs(folder, least_side=64).pixels, *load_photographs(other, least_side=64).pixels]
    assert len(both) == 18
    assert all(np.array_equal(one, two) for one, two in zip(both, apart, strict=True))


def test_a_broken_shard_is_an_error(tmp_path):
    (tmp_path / "bad.tar").write_bytes(b"x" * 600)
    with pytest.raises(InputError, match="cannot be read as a shard"):
        load_photographs(tmp_path, least_side=64)


def test_the_number_of_a_crop_settles_it(folder):
    photographs = load_photographs(folder, least_side=64)
    crops, again = (Crops(photographs, 64, 80, seed, 20) for seed in (3, 3))
    assert all(np.array_equal(crops[index], again[index]) for index in range(20))
    assert not np.array_equal(crops[0], Crops(photographs, 64, 80, 4, 20)[0])
    assert not np.array_equal(crops[0], crops[10])  # the same photograph, cut otherwise
    assert crops[5].shape == (64, 64, 3)
    assert crops[5].dtype == np.float32


def test_photographs_to_validate_on_are_held_out(folder):
    photographs = load_photographs(folder, least_side=64)
    learning, held = photographs.split(seed=0)
    assert len(held) == 4
    assert len(learning) == 6
    assert not {id(pixels) for pixels in held.pixels} & {id(pixels) for pixels in learning.pixels}


def test_items_take_every_crop_and_style_by_turns():
    whole = items(0, 60, crops=20, styles=3, seed=1)
    assert all(sorted(item.crop for item in whole[start : start + 20]) == list(range(20)) for start in (0, 20, 40))
    assert all({item.style for item in whole[start : start + 3]} == {0, 1, 2} for start in range(0, 60, 3))
    assert [*items(0, 25, crops=20, styles=3, seed=1), *items(25, 35, crops=20, styles=3, seed=1)] == whole
    assert items(0, 60, crops=20, styles=3, seed=2) != whole


def test_a_folder_with_too_few_files_is_told_without_reading_them(tmp_path):
    for number in range(7):
        (tmp_path / f"{number}.jpg").write_bytes(b"not read")
    with pytest.raises(InputError, match="7 photographs; training needs 8"):
        check_photographs(tmp_path)
    (tmp_path / "7.jpg").write_bytes(b"not read")
    check_photographs([tmp_path])
    with pytest.raises(InputError, match="no folder"):
        check_photographs(tmp_path / "nowhere")
