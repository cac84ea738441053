"""Does the house stand as the README draws it? Files import only from floors below, entry points never each other."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "stackgan_keras"
FLOORS = [
    {"errors"},
    {"files"},
    {"command_line"},
    {"config", "curves", "images", "layout", "losses", "metrics", "safe_pickle", "torch7"},
    {"checkpoints", "datasets", "drawn_birds", "embedded", "models", "sources", "text_encoder"},
    {"judge", "stream"},
    {"weights"},
    {"adversarial", "engine", "releases", "sampler"},
    {"joint_embedding", "serving"},
    {"stages"},
    {
        "prepare",
        "train_text",
        "train_stage1",
        "train_stage2",
        "train_attributes",
        "generate",
        "evaluate",
        "convert",
        "export",
    },
]
MUST_NOT_IMPORT = {
    "config": {"tensorflow", "keras"},
    "losses": {"tensorflow"},
    "datasets": {"tensorflow", "keras"},
    "drawn_birds": {"tensorflow", "keras"},
    "safe_pickle": {"pickle._Unpickler", "tensorflow", "keras"},
    "models": {"tensorflow"},
    "judge": {"tensorflow"},
    "weights": {"tensorflow"},
    "images": {"tensorflow"},
    "text_encoder": {"tensorflow", "stackgan_keras.datasets"},
    "engine": {"stackgan_keras.models", "stackgan_keras.losses"},
}


def imports(file: Path, *, at_once: bool = False) -> set[str]:
    """What a file imports anywhere, or only what it does `at_once`, outside its functions."""
    found, tree = set(), ast.parse(file.read_text())
    for node in tree.body if at_once else ast.interpolation(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def test_every_file_has_its_floor():
    assert {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"} == set().union(*FLOORS)


def test_imports_point_downwards():
    floor_of = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    for file in PACKAGE.glob("*.py"):
        for imported in imports(file):
            name = imported.removeprefix("stackgan_keras.").split(".")[0]
            if imported.startswith("stackgan_keras.") and name in floor_of and file.stem in floor_of:
                assert floor_of[name] < floor_of[file.stem], f"{file.stem} imports {name}"


def test_what_each_must_not_know():
    for name, forbidden in MUST_NOT_IMPORT.items():
        found = imports(PACKAGE / f"{name}.py")
        assert not {i for i in found for f in forbidden if i == f or i.startswith(f"{f}.")}, name


def test_networks_load_without_tensorflow():
    needed, seen = {"weights"}, set()
    while needed - seen:
        name = (needed - seen).pop()
        seen.add(name)
        imported = imports(PACKAGE / f"{name}.py", at_once=True)
        assert not {module for module in imported if module.split(".")[0] == "tensorflow"}, name
        parts = {module.split(".")[1] for module in imported if module.startswith("stackgan_keras.")}
        needed |= {part for part in parts if (PACKAGE / f"{part}.py").is_file()}
    assert {"models", "judge", "text_encoder", "metrics"} <= seen


def test_first_line_of_every_file_is_its_question():
    for file in PACKAGE.glob("*.py"):
        first_line = ast.get_docstring(ast.parse(file.read_text())).splitlines()[0]
        assert first_line, file


def test_readme_draws_every_file():
    readme = (PACKAGE.parent / "README.md").read_text()
    for file in PACKAGE.glob("[!_]*.py"):
        assert file.name in readme, file.name
