"""Entries: what is written, and every kind of wrong one refused in words."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from boards import ABOUT, GOOD, codes_of, problems, score

from disentangle_bench.board.check import check_entries
from disentangle_bench.board.definition import Board, read_board
from disentangle_bench.board.entries import codes_file, read_codes, write_entry
from disentangle_bench.errors import BenchError


@pytest.fixture
def board(results: Path) -> Board:
    return read_board(results, "tiny")


@pytest.fixture
def entry(results: Path) -> Path:
    return results / "entries" / "tiny" / GOOD


def test_a_good_entry_has_no_problem(results: Path, board: Board) -> None:
    assert problems(results, board) == ""


def test_the_same_codes_give_the_same_bytes(board: Board, entry: Path) -> None:
    codes = read_codes(board, entry / "codes-s0.npz")
    assert codes.dtype == np.float16
    np.testing.assert_array_equal(codes, codes_of(0).astype(np.float16))
    assert codes_file(codes) == (entry / "codes-s0.npz").read_bytes()


def put(entry: Path, **arrays: np.ndarray) -> None:
    np.savez(entry / "codes-s0.npz", **arrays)


def with_nan() -> np.ndarray:
    codes = codes_of(0).astype(np.float16)
    codes[5, 1] = np.nan
    return codes


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (
            codes_of(0, points=39).astype(np.float16),
            "codes are float16 [39, 3]; needed are float16 [40, latents]",
        ),
        (codes_of(0), "codes are float32 [40, 3]; needed are float16"),
        (codes_of(0).astype(np.float16).reshape(-1), "codes are float16 [120]; needed are"),
        (np.zeros((40, 0), np.float16), "codes are float16 [40, 0]; needed are"),
        (with_nan(), "not finite in row 5, latent 1"),
        (np.ones((40, 3), np.float16), "the same for all points"),
        (np.array([[{}]] * 40, dtype=object), "pickled Python objects, which are never opened"),
    ],
)
def test_wrong_codes(results: Path, board: Board, entry: Path, codes: np.ndarray, words: str) -> None:
    put(entry, codes=codes)
    assert words in problems(results, board)
    assert "codes-s0.npz" in problems(results, board)


def test_a_second_array_is_refused(results: Path, board: Board, entry: Path) -> None:
    put(entry, codes=codes_of(0).astype(np.float16), more=codes_of(1))
    assert "holds codes.npy, more.npy; one array `codes` is needed" in problems(results, board)


def test_what_is_no_archive_is_refused(results: Path, board: Board, entry: Path) -> None:
    (entry / "codes-s0.npz").write_bytes(b"\x80\x04K\x01.")
    assert "cannot be read as an .npz file" in problems(results, board)


def test_size_is_limited_packed_and_unpacked(results: Path, board: Board, entry: Path) -> None:
    small = board.model_copy(update={"largest_bytes": 500})
    size = (entry / "codes-s0.npz").stat().st_size
    assert size > 300
    put(entry, codes=codes_of(0).astype(np.float16))
    assert "bytes; at most 300 are allowed" in problems(
        results, board.model_copy(update={"largest_bytes": 300})
    )
    bomb = np.zeros((40, 1000), np.float16)
    with (
        zipfile.ZipFile(entry / "codes-s0.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("codes.npy", "w") as file,
    ):
        np.lib.format.write_array(file, bomb)
    assert "1000 latents are more than 500 bytes, unpacked, can hold" in problems(results, small)


def test_too_few_seeds(results: Path, board: Board, entry: Path) -> None:
    (entry / "codes-s1.npz").unlink()
    assert "has codes of 1 seeds; the board needs at least 2" in problems(results, board)


def test_codes_of_another_entry_or_seed_are_refused(results: Path, board: Board, entry: Path) -> None:
    write_entry(results, board, "Roe2026Copy", ABOUT, {0: codes_of(0), 1: codes_of(5), 2: codes_of(5)})
    score(results, board)
    # Also where only the copy is checked, and where its file has other bytes.
    put(results / "entries" / "tiny" / "Roe2026Copy", codes=codes_of(0).astype(np.float16))
    for names in ((), ("Roe2026Copy",)):
        found = problems(results, board, *names)
        assert f"Roe2026Copy: the codes of seed 0 are the same as those of {GOOD}, seed 0" in found
        assert "Roe2026Copy: the codes of seed 2 are the same as those of seed 1" in found


def test_edited_scores_are_named(results: Path, board: Board, entry: Path) -> None:
    lines = (entry / "scores.csv").read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("1,") and ",mig," in line)
    head, _, value = lines[number].rpartition(",")
    lines[number] = f"{head},0.999"
    (entry / "scores.csv").write_text("\n".join(lines) + "\n")
    words, _, computed = problems(results, board).rpartition(" ")
    assert words == f"{entry / 'scores.csv'}: seed 1: mig: mig is 0.999 in the file, and the codes give"
    assert float(computed) == pytest.approx(float(value), abs=1e-8)


def test_scores_of_nothing_are_named(results: Path, board: Board, entry: Path) -> None:
    (entry / "scores.csv").unlink()
    assert f"seed 0: mig has no figures: `bench board score tiny {GOOD}` writes them" in problems(
        results, board
    )
    score(results, board)
    with (entry / "scores.csv").open("a") as file:
        file.write("9,0,0,mig,1,mig,1.0\n")
    assert "has figures of mig for seed 9, which nobody asked for" in problems(results, board)
    (entry / "scores.csv").write_text("seed,score\n0,1\n")
    assert "its columns must be seed,codes,question" in problems(results, board)
    (entry / "scores.csv").write_bytes(b"\xff")
    assert "scores.csv cannot be read" in problems(results, board)


def test_links_and_unknown_files(
    results: Path, board: Board, entry: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (entry / "run_me.py").write_text("print('hello')")
    (entry / "pictures").mkdir()
    found = problems(results, board)
    assert "run_me.py is no file of an entry" in found
    assert "pictures is no file of an entry" in found
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "codes.npz"
    (entry / "codes-s0.npz").rename(elsewhere)
    (entry / "codes-s0.npz").symlink_to(elsewhere)
    assert "codes-s0.npz is a link; a file itself is needed" in problems(results, board)
    (entry.parent / "Roe2026Link").symlink_to(entry)
    assert "Roe2026Link is a link; a folder itself is needed" in problems(results, board)


def _refusal(results: Path, board: Board, name: str) -> str:
    with pytest.raises(BenchError) as caught:
        check_entries(results, board, [name], None)
    return str(caught.value)


def test_what_lies_among_entries_is_named(results: Path, board: Board, entry: Path) -> None:
    (entry.parent / "notes.txt").write_text("")
    (entry.parent / "vae").mkdir()
    found = problems(results, board)
    assert "notes.txt is no entry: a folder is needed, called AuthorYearWord" in found
    assert "vae is no entry" in found


@pytest.mark.parametrize(
    "name",
    [
        "../Doe2026Good",
        "/etc",
        "doe2026good",
        "Doe2026",
        "Doe26Good",
        "Doe2026Good\n",
        "Doe2026Go od",
        ".",
        "",
    ],
)
def test_odd_names_of_entries(results: Path, board: Board, name: str) -> None:
    assert "is no name of an entry: AuthorYearWord is needed" in _refusal(results, board, name)
    with pytest.raises(BenchError, match="is no name of an entry"):
        write_entry(results, board, name, ABOUT, {0: codes_of(9)})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('supervision = "some"', "supervision = 'some': input should be 'none', 'weak' or 'full'"),
        ("supervision = 3", "supervision = 3: "),
        ("colour = 1", "unknown key 'colour':"),
        ('method = "a\\nb"', "one line of text is needed"),
        ('method = ""', "one line of text is needed"),
        ("codes = 3", "codes = 3: a list is needed"),
        ("= =", "is not valid TOML"),
    ],
)
def test_odd_texts_of_entries(results: Path, board: Board, entry: Path, line: str, words: str) -> None:
    key = line.split(" =")[0]
    kept = [
        each for each in (entry / "entry.toml").read_text().splitlines() if not each.startswith(f"{key} =")
    ]
    (entry / "entry.toml").write_text("\n".join([*kept, line]))
    assert words in problems(results, board)
    assert str(entry / "entry.toml") in problems(results, board)


def test_a_missing_key_is_named(results: Path, board: Board, entry: Path) -> None:
    (entry / "entry.toml").write_text('name = "x"\n')
    found = problems(results, board)
    for key in ("method", "licence", "supervision", "tuning", "budget"):
        assert f"entry.toml: {key} is missing" in found
    put(entry, codes=with_nan())
    assert problems(results, board).splitlines() == [
        *found.splitlines(),
        f"{entry / 'codes-s0.npz'}: codes are not finite in row 5, latent 1; float16 ends at 65504",
    ]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://a.org/c.npz",
            "file:///etc/passwd",
            "https://",
            "https://me:secret@a.org/c",
            "https://a.org:22/c",
        ),
        *(
            "https://a.org/../c.npz",
            "https://a.org/c d",
            "javascript:alert(1)",
            "https://a.org/\\u0007",
            "https://[/",
        ),
    ],
)
def test_odd_addresses(results: Path, board: Board, entry: Path, url: str) -> None:
    table = f'\n[[codes]]\nseed = 5\nurl = "{url}"\nsha256 = "{"0" * 64}"\nbytes = 9\n'
    with (entry / "entry.toml").open("a") as file:
        file.write(table)
    assert "codes.0.url" in problems(results, board)


def test_codes_that_lie_elsewhere(
    results: Path, board: Board, entry: Path, monkeypatch, tmp_path: Path
) -> None:
    from disentangle_bench.files import sha256

    content = (entry / "codes-s1.npz").read_bytes()
    (entry / "codes-s1.npz").unlink()
    with (entry / "entry.toml").open("a") as file:
        file.write(f'\n[[codes]]\nseed = 1\nurl = "https://a.org/c.npz"\nsha256 = "{sha256(content)}"\n')
        file.write(f"bytes = {len(content)}\n")
    cache = tmp_path / "cache"
    found = check_entries(results, board, [], cache)
    assert "the codes of seed 1 lie elsewhere: --fetch downloads them" in found[0]

    def send(facts, folder):
        assert (facts.url, facts.size, facts.hashes) == (
            "https://a.org/c.npz",
            len(content),
            {"sha256": sha256(content)},
        )
        folder.mkdir(parents=True)
        (folder / facts.name).write_bytes(content)

    monkeypatch.setattr("disentangle_bench.data.download.fetch", send)
    assert check_entries(results, board, [], cache, fetch=True) == []
    # Fetched once, the codes are there for scoring too.
    assert check_entries(results, board, [], cache) == []
    tight = board.model_copy(update={"largest_bytes": len(content) - 1})
    assert any(
        "the board allows" in problem for problem in check_entries(results, tight, [], cache, fetch=True)
    )


def test_an_entry_is_made_whole_or_not_at_all(results: Path, board: Board) -> None:
    folder = results / "entries" / "tiny"
    before = sorted(folder.rglob("*"))
    far = np.full((40, 3), 1e6) * codes_of(0)
    for about, codes, words in [
        (ABOUT | {"supervision": "some"}, {0: codes_of(8)}, "supervision"),
        (
            ABOUT,
            {0: codes_of(8), 1: codes_of(8, points=3)},
            "seed 1: codes have 3 rows; the board has 40 points",
        ),
        (ABOUT, {0: far}, "float16 ends at 65504"),
        (ABOUT, {0: with_nan()}, "seed 0: codes hold 1 NaN"),
        (ABOUT, {0: np.ones((40, 2))}, "the same for all points"),
        (ABOUT, {-1: codes_of(8)}, "a seed is a whole number from 0"),
    ]:
        with pytest.raises(BenchError, match=words):
            write_entry(results, board, "Roe2026New", about, codes)
        assert sorted(folder.rglob("*")) == before


def test_seeds_are_added_and_nothing_is_replaced(results: Path, board: Board, entry: Path) -> None:
    before = {path: path.read_bytes() for path in entry.iterdir()}
    write_entry(results, board, GOOD, {"method": ABOUT["method"]}, {1: codes_of(1), 2: codes_of(2)})
    assert {path: path.read_bytes() for path in entry.iterdir() if path.name != "codes-s2.npz"} == before
    with pytest.raises(BenchError, match="holds other codes; delete it first"):
        write_entry(results, board, GOOD, {}, {3: codes_of(3), 1: codes_of(9)})
    assert not (entry / "codes-s3.npz").exists()
    with pytest.raises(BenchError, match="budget is 'none', not 'a day'"):
        write_entry(results, board, GOOD, {"budget": "a day"}, {3: codes_of(3)})


def test_latents_far_from_zero_keep_their_digits(results: Path, board: Board) -> None:
    path = write_entry(results, board, "Roe2026Far", ABOUT, {0: codes_of(3).astype(np.float64) + 50_000})
    kept = read_codes(board, path / "codes-s0.npz").astype(np.float64)
    moved = kept - kept.mean(axis=0) - (codes_of(3) - codes_of(3).mean(axis=0))
    assert np.abs(moved).max() < 0.01
