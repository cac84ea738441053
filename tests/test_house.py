"""The package keeps to its layout: which folder imports which, and how long and wide its functions are."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "stackgan_keras"
ORDER = [  # each imports only from those before it, and not from those beside it
    {"errors"},
    {"files", "unpickler", "processes"},
    {"config"},
    {"command_line"},
    {"models"},
    {"data", "porting"},
    {"training"},
    {"evaluation", "inference"},
    {
        *("prepare", "train_text", "train_stage1", "train_stage2", "train", "train_attributes", "train_extractor"),
        *("generate", "evaluate", "convert", "export", "app"),
    },
]
FOLDERS = {"models", "data", "training", "evaluation", "inference", "porting"}
COMMANDS = ORDER[-1]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
WITH_TENSORFLOW = {"noise.py", "pipeline.py", "shards/folder.py", "shards/making.py", "shards/records.py"}  # of data/
WITHOUT_KERAS = [
    *("config.py", "errors.py", "files.py", "command_line.py"),
    *("data/published.py", "data/pickles.py", "data/drawn_birds", "data/sources", "data/preparing", "models/runs.py"),
]
LONGEST = 60  # lines of a function
MOST_PARAMETERS = 8  # of a function outside models/, whose builders take one keyword for each size
SLOW_TO_ANSWER = {"convert"}  # imports Keras before it looks at its arguments


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The folder or the file on top that a file of the package belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imported(path: Path, *, at_once: bool = False) -> set[str]:
    """The modules that a file names in import lines: all, or those that are read `at_once`, as the file is imported."""
    found = set()
    for node in _at_once(ast.parse(path.read_text())) if at_once else ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if file_of(inner) else node.module)
    return found


def _at_once(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a file that do not wait for a call."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node
            yield from _at_once(node)


def file_of(module: str) -> Path | None:
    """The file of a module of the package."""
    if module.split(".")[0] != PACKAGE.name:
        return None
    path = REPOSITORY.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def loaded_with(path: Path) -> set[str]:
    """The modules outside the package that come along when a file is imported."""
    waiting, seen, outside = {path}, set(), set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        for module in imported(file, at_once=True):
            if module.split(".")[0] != PACKAGE.name:
                outside.add(module.split(".")[0])
                continue
            parents = module.split(".")
            files = [file_of(".".join(parents[:n])) for n in range(1, len(parents) + 1)]
            waiting |= {file for file in files if file is not None} - seen
    return outside


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{name_of(path)}: {node.name}", node


def test_every_file_and_folder_has_its_place():
    assert {part_of(path) for path in files()} - {"__init__"} <= set(RANK)
    assert {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))} == FOLDERS
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == set(RANK) - FOLDERS


def test_imports_point_to_the_left():
    for path in files():
        mine = part_of(path)
        for module in imported(path) if mine != "__init__" else ():
            theirs = module.split(".")[1] if module.startswith("stackgan_keras.") else None
            if theirs not in (None, mine):
                assert RANK[theirs] < RANK[mine], f"{name_of(path)} imports {module}"


def test_networks_are_built_without_tensorflow():
    for path in (PACKAGE / "models").glob("*.py"):
        assert "tensorflow" not in loaded_with(path), name_of(path)


def test_only_streams_and_noise_need_tensorflow_in_data():
    for path in (PACKAGE / "data").rglob("*.py"):
        needs = {module.split(".")[0] for module in imported(path, at_once=True)}
        assert str(path.relative_to(PACKAGE / "data")) in WITH_TENSORFLOW or "tensorflow" not in needs, name_of(path)


def test_only_the_hub_of_data_sets_needs_tensorflow_datasets():
    found = {name_of(path) for path in files() if "tensorflow_datasets" in {m.split(".")[0] for m in imported(path)}}
    assert found == {"data/sources/hub.py"}
    assert "tensorflow_datasets" not in imported(PACKAGE / "data/sources/hub.py", at_once=True)


def test_the_package_imports_at_once_and_in_silence():
    program = "import sys, stackgan_keras; sys.exit(bool({'tensorflow', 'keras', 'numpy'} & {*sys.modules}))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=REPOSITORY, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


@pytest.mark.parametrize("name", WITHOUT_KERAS)
def test_what_answers_at_once_waits_for_neither_tensorflow_nor_keras(name):
    place = PACKAGE / name
    for path in place.rglob("*.py") if place.is_dir() else [place]:
        assert not loaded_with(path) & {"tensorflow", "keras"}, name_of(path)


@pytest.mark.parametrize("name", sorted(COMMANDS - SLOW_TO_ANSWER))
def test_commands_answer_before_they_import_tensorflow(name):
    assert not loaded_with(PACKAGE / f"{name}.py") & {"tensorflow", "keras"}


def test_no_function_is_long():
    long = {name for name, node in functions() if node.end_lineno - node.lineno >= LONGEST}
    assert not long


def test_no_function_takes_many_parameters():
    wide = set()
    for name, node in functions():
        given = node.args
        names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        count = len([each for each in names if each not in ("self", "cls")]) + bool(given.vararg) + bool(given.kwarg)
        if count > MOST_PARAMETERS and not name.startswith("models/"):
            wide.add(name)
    assert not wide


def public(nodes: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    """The functions and methods that other files may call, and the special ones."""
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            yield from public(node.body)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not re.match("_[^_]", node.name):
            yield node


def test_public_functions_say_what_they_take_and_give():
    silent = []
    for path in files():
        for node in public(ast.parse(path.read_text()).body):
            given = node.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
            unannotated = [each.arg for each in every if each.annotation is None and each.arg not in ("self", "cls")]
            if node.returns is None and node.name != "__init__":
                unannotated.append("its result")
            if unannotated:
                silent.append(f"{name_of(path)}: {node.name}: {', '.join(unannotated)}")
    assert not silent


def test_every_file_begins_by_saying_what_it_holds():
    for path in files():
        assert ast.get_docstring(ast.parse(path.read_text())), name_of(path)


def test_the_readme_or_the_docs_name_every_folder_and_command():
    documents = "".join(path.read_text() for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")))
    assert not [name for name in FOLDERS if f"{name}/" not in documents]
    assert not [name for name in COMMANDS if name not in documents]


def test_the_readmes_tree_has_every_file():
    tree = (REPOSITORY / "README.md").read_text().split("```\nstackgan_keras/\n")[1].split("```")[0]
    tree = tree.split("\nconfigs/ ")[0]
    listed, folder = {}, ""
    for line in tree.splitlines():
        if found := re.match(r"  (\w+)/ ", line):
            folder = found[1]
        words = re.sub(r"\([^)]*\)", "", line)
        listed.setdefault(folder, set()).update(re.findall(r"\w+", words))
    for path in files():
        place = path.relative_to(PACKAGE).parts
        part, name = ("", place[0]) if len(place) == 1 else place[:2]
        assert name.removesuffix(".py") in listed[part] | {"__init__"}, name_of(path)
