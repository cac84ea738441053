"""README, docs and notebook speak of what is there: settings with their defaults, commands, options, files."""

import ast
import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from stackgan_keras import __version__, command_line, config
from stackgan_keras.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
CARDS = [REPOSITORY / f"weights/{run}/README.md" for run in ("flowers", "birds")]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/*.md"), *CARDS])
NOTEBOOK = REPOSITORY / "notebooks/stackgan.ipynb"
TRAINING = ("train_text", "train_stage1", "train_stage2", "train")  # commands that take every setting
COMMANDS = "|".join(
    path.stem for path in (REPOSITORY / "stackgan_keras").glob("*.py") if "def main" in path.read_text()
)


def settings() -> dict[str, str]:
    """Every setting by its name, with its default as it is written in the docs."""
    return {name: written(value) for name, value in config.flat(config.Settings().model_dump()).items()}


def written(value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return str(value)


def rows(page: str, head: str) -> list[list[str]]:
    """The cells of all tables of a page of docs whose first line is `head`."""
    found, inside = [], False
    for line in (REPOSITORY / "docs" / page).read_text(encoding="utf-8").splitlines():
        inside = line == head or (inside and line.startswith("|"))
        if inside and line.startswith("| `"):
            found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return found


def commands() -> list[tuple[str, list[str]]]:
    """Every command of the package with its words, in the pages' code and in the notebook."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    texts = [path.read_text(encoding="utf-8") for path in PAGES] + ["".join(cell["source"]) for cell in cells]
    found = []
    for line in "\n".join(texts).replace("\\\n", " ").splitlines():
        for command, words in re.findall(rf"(?:python -m stackgan_keras\.|`(?=(?:{COMMANDS}) ))(\w+)([^`]*)", line):
            found.append((command, shlex.split(words, comments=True)))
    return found


def test_the_table_of_settings_is_complete():
    listed = [(name, default) for name, default, _ in rows("settings.md", "| setting | default | meaning |")]
    assert listed == list(settings().items())


def test_settings_that_are_named_exist():
    sections = set(config.Settings.model_fields)
    for path in PAGES:
        if path.name == "CHANGELOG.md":  # which also names what is gone
            continue
        for section, key in re.findall(r"`(?:--)?(\w+)\.(\w+)[`: ]", path.read_text(encoding="utf-8")):
            name = f"{section}.{key}"
            assert section not in sections or name in settings(), f"{path}: {name}"


def test_commands_and_their_options_exist(capsys, monkeypatch):
    assert len(commands()) > 20
    helps = {}
    for command, words in commands():
        if command not in helps:
            monkeypatch.setattr("sys.argv", [command, "--help-all" if command in TRAINING else "--help"])
            with pytest.raises(SystemExit):
                importlib.import_module(f"stackgan_keras.{command}").main()
            helps[command] = set(re.findall(r"--[\w.]+", capsys.readouterr().out))
        options = {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
        if command == "prepare":  # takes the settings of train_text, too
            options -= {f"--{name}" for name in settings()} | {"--config"}
        assert options <= helps[command], (command, words)
        if "--config" in words:
            config.read(words[words.index("--config") + 1])


def test_settings_on_command_lines_are_valid():
    for command, words in commands():
        if command in TRAINING and "--help" not in words:
            given = [word.removeprefix("[").removesuffix("]") for word in words if word != "\N{HORIZONTAL ELLIPSIS}"]
            try:
                command_line.settings_from(given, prog=command, description="", preset="drawn_stage1", defaults={})
            except InputError as problem:
                pytest.fail(f"{command} {words}: {problem}")


def test_links_lead_somewhere():
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            assert "://" in target or (path.parent / target).exists(), f"{path}: {target}"


def test_code_is_python():
    for path in PAGES:
        for block in re.findall(r"(?ms)^```python\n(.*?)^```", path.read_text(encoding="utf-8")):
            ast.parse(block, filename=str(path))


def test_make_has_what_is_said_of_it():
    targets = re.findall(r"(?m)^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"))
    for path in PAGES:
        for target in re.findall(r"`make ([\w-]+)", path.read_text(encoding="utf-8")):
            assert target in targets, f"{path}: make {target}"


def test_every_config_is_described():
    page = (REPOSITORY / "docs/configs.md").read_text(encoding="utf-8")
    described = re.findall(r"`(\w+_(?:text|stage[12]|stackgan_v2|attngan|attndcgan))`", page)
    assert sorted({*described}) == sorted(path.stem for path in (REPOSITORY / "configs").glob("*.yaml"))


def test_the_api_page_names_what_is_there():
    names = re.findall(r"(?m)^::: ([\w.]+)$", (REPOSITORY / "docs/api.md").read_text(encoding="utf-8"))
    assert len(names) > 10
    for name in names:
        module, _, attribute = name.rpartition(".")
        tree = ast.parse(Path(REPOSITORY, *module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
        assert attribute in {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}, name


def test_one_version_everywhere():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    changes = re.findall(r"(?m)^## (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert changes[0] == f"{__version__} - {citation['date-released']}"
