import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from disentangle_bench.data.cache import cached_array, map_private, open_verified, write

SHAPE = (6, 5)
WANTED = np.arange(30, dtype=np.int16).reshape(SHAPE)


class Maker:
    def __init__(self):
        self.made = 0

    def __call__(self):
        self.made += 1
        yield WANTED[:4]
        yield WANTED[4:]


def test_it_is_made_once(tmp_path):
    maker, path = Maker(), tmp_path / "new" / "a.npy"
    first, digest = cached_array(path, SHAPE, np.int16, maker)
    second, again = cached_array(path, SHAPE, np.int16, maker)
    assert maker.made == 1
    assert digest == again
    assert np.array_equal(first, WANTED)
    assert np.array_equal(second, WANTED)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.npy"]


def test_a_map_is_of_the_file_and_private(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(100)))
    array = map_private(path, np.uint8, (5, 7), 3)
    assert array.tolist() == np.arange(3, 38).reshape(5, 7).tolist()
    array[0] = 0
    assert path.read_bytes() == bytes(range(100))


def no_overcommit():
    """Whether this machine grants no more memory than it has, whatever is asked for."""
    setting = Path("/proc/sys/vm/overcommit_memory")
    return sys.platform != "linux" or (setting.is_file() and setting.read_text().strip() == "2")


@pytest.mark.skipif(no_overcommit(), reason="the system promises no memory that it does not have")
def test_a_file_may_be_larger_than_memory(tmp_path):
    """Isaac3D's cache file has 36 GB; a hole of a terabyte stands for it."""
    size = 1 << 40
    try:
        with (tmp_path / "large.bin").open("wb") as file:
            file.truncate(size)
    except OSError:
        pytest.skip("this file system has no holes of that size")
    array = map_private(tmp_path / "large.bin", np.uint8, (size // 64, 64), 0)
    assert array[-1].sum() == 0


def test_it_is_an_ordinary_npy_file(tmp_path):
    cached_array(tmp_path / "a.npy", SHAPE, np.int16, Maker())
    assert np.array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), WANTED)


@pytest.mark.parametrize("place", [0, 8, 40, 130, 150, -33, -32, -1])
def test_a_flipped_bit_is_seen_and_mended(tmp_path, place):
    maker, path = Maker(), tmp_path / "a.npy"
    cached_array(path, SHAPE, np.int16, maker)
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    assert open_verified(path, SHAPE, np.int16) is None
    mended, _ = cached_array(path, SHAPE, np.int16, maker)
    assert maker.made == 2
    assert np.array_equal(mended, WANTED)


@pytest.mark.parametrize("length", [0, 1, 100, 187, 219])
def test_a_cut_file_is_seen(tmp_path, length):
    path = tmp_path / "a.npy"
    cached_array(path, SHAPE, np.int16, Maker())
    path.write_bytes(path.read_bytes()[:length])
    assert open_verified(path, SHAPE, np.int16) is None


def test_another_shape_or_type_is_not_taken(tmp_path):
    path = tmp_path / "a.npy"
    cached_array(path, SHAPE, np.int16, Maker())
    assert open_verified(path, (5, 6), np.int16) is None
    assert open_verified(path, SHAPE, np.uint16) is None


def test_a_pickle_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "boom"),)

    path = tmp_path / "a.npy"
    path.write_bytes(pickle.dumps(Bomb()))
    assert open_verified(path, SHAPE, np.int16) is None
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    assert open_verified(path, SHAPE, np.int16) is None
    assert not (tmp_path / "boom").exists()


def test_where_nothing_can_be_written_it_stays_in_memory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="cannot be written"):
        array, digest = cached_array(tmp_path / "file" / "a.npy", SHAPE, np.int16, Maker())
    assert np.array_equal(array, WANTED)
    assert digest == cached_array(tmp_path / "b.npy", SHAPE, np.int16, Maker())[1]


def test_what_fails_half_way_leaves_nothing(tmp_path):
    def broken():
        yield WANTED[:4]
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        write(tmp_path / "a.npy", SHAPE, np.int16, broken())
    assert list(tmp_path.iterdir()) == []


def test_writing_to_the_array_leaves_the_file_alone(tmp_path):
    path = tmp_path / "a.npy"
    array, _ = cached_array(path, SHAPE, np.int16, Maker())
    array[0, 0] = 99
    assert open_verified(path, SHAPE, np.int16) is not None


def test_two_processes_at_once_do_no_harm(tmp_path):
    script = (
        "import sys, pathlib, numpy as np\n"
        "from disentangle_bench.data.cache import cached_array\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "blocks = lambda: (np.full((1, 4096), k, np.int16) for k in range(2000))\n"
        "array, _ = cached_array(path, (2000, 4096), np.int16, blocks)\n"
        "assert (array[:, 0] == np.arange(2000)).all()\n"
    )
    path = tmp_path / "a.npy"
    racers = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(2)]
    assert [racer.wait() for racer in racers] == [0, 0]
    assert open_verified(path, (2000, 4096), np.int16) is not None
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npy"]


RIVAL = """
import sys, time
from pathlib import Path
import numpy as np
from disentangle_bench.data.cache import cached_array

folder = Path(sys.argv[1])

def blocks():
    with (folder / "made.txt").open("a") as file:
        file.write("once\\n")
    time.sleep(1)
    yield np.arange(6)

array, _ = cached_array(folder / "a.npy", (6,), np.int64, blocks)
assert array.tolist() == [0, 1, 2, 3, 4, 5]
"""


def test_of_several_processes_one_makes_it(tmp_path):
    rivals = [subprocess.Popen([sys.executable, "-c", RIVAL, tmp_path]) for _ in range(3)]
    assert [rival.wait() for rival in rivals] == [0, 0, 0]
    assert (tmp_path / "made.txt").read_text() == "once\n"
