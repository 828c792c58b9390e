"""The house's plan, held by its imports: every arrow points down, and some arrows never exist."""

import ast
from pathlib import Path

import pytest

import disentangle_bench

ROOT = Path(disentangle_bench.__file__).parent
# From the ground up; a room imports from lower floors only, and from itself.
FLOORS = [
    {"shown", "errors", "stop", "streams", "version"},
    {"files", "locks", "progress", "source_hash", "device", "shipped_grids"},
    {"registry", "bars"},
    {"specs", "metrics", "data"},
    {"models"},
    {"grid", "randomness", "precision", "callbacks"},
    {"build", "grid_file", "splits"},
    {"records", "processes"},
    {"evaluation", "train"},
    {"report"},
    {"study", "board"},
    {"cli"},
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
# Rooms and modules that open in an instant.
WITHOUT_TORCH = {
    *(
        "bars",
        "callbacks",
        "cli",
        "board",
        "report",
        "records",
        "metrics",
        "registry",
        "specs",
        "grid",
        "grid_file",
    ),
    *(
        "errors",
        "files",
        "locks",
        "progress",
        "shipped_grids",
        "shown",
        "source_hash",
        "stop",
        "streams",
        "version",
    ),
    *(
        "evaluation/scores.py",
        "evaluation/tables.py",
        "evaluation/protocols.py",
        "evaluation/protocol_metrics.py",
        "study/plan.py",
        "study/calls.py",
        "study/finished.py",
        "study/claims.py",
    ),
    *("models/settings.py", "study/launchers/mailbox.py"),
}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module that is imported anywhere in the file, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("disentangle_bench.")}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_down(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return  # the package's face hands names on from any floor
    assert room in FLOOR, f"{room} stands on no floor; give it one in this test"
    for other in own_rooms(path) - {room}:
        assert FLOOR[other] < FLOOR[room], f"{path} imports {other}, which is not below {room}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_torch_where_a_table_must_open_in_an_instant(path: Path) -> None:
    if WITHOUT_TORCH & {room_of(path), path.relative_to(ROOT).as_posix()}:
        assert not {name for name in imports(path) if name.split(".")[0] in ("torch", "torchvision")}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_metrics_know_nothing_but_numbers(path: Path) -> None:
    if room_of(path) == "metrics":
        assert own_rooms(path) <= {"metrics"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles(path: Path) -> None:
    assert not {
        name for name in imports(path) if name.split(".")[0] in ("pickle", "dill", "joblib", "shelve")
    }
    source = path.read_text()
    assert "torch.load" not in source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
            allowed = [k.value for k in node.keywords if k.arg == "allow_pickle"]
            assert allowed, f"{path}: np.load without allow_pickle=False"
            assert ast.literal_eval(allowed[0]) is False, f"{path}: np.load may unpickle"


def test_no_junk_drawer() -> None:
    assert not [path for path in modules() if path.stem in ("utils", "helpers", "common", "misc")]


MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_ARGUMENTS = 350, 60, 6


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_can_be_read_at_once(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            said = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
            assert node.end_lineno - said < MOST_LINES_OF_A_FUNCTION, f"{node.name} is too long"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_belongs_together_is_handed_on_as_one(path: Path) -> None:
    if room_of(path) in ("study", "evaluation", "board"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                count = len(node.args) + len(node.keywords)
                assert count <= MOST_ARGUMENTS, f"{path}:{node.lineno}: {ast.unparse(node.func)} has {count}"
