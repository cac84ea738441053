"""Settings: defaults, sources, and a sentence for each wrong one."""

import re
from pathlib import Path

import pytest
import yaml
from helpers import refusal

from stackgan_keras import command_line, config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

RELEASE = {  # the defaults of the PyTorch release, as far as it has the setting
    "data": {"root": None, "image_size": 64},
    "generator": {"filters": 128, "text_dim": 1024, "condition_dim": 128, "noise_dim": 100, "residual_blocks": 4},
    "discriminator": {"filters": 64, "text": "mean"},
    "train": {
        "batch_size": 64,
        "epochs": 600,
        "max_steps": None,
        "generator_learning_rate": 2e-4,
        "discriminator_learning_rate": 2e-4,
        "kl_weight": 2.0,
        "precision": "float32",
    },
}


def parse(*arguments, defaults=None, **keywords):
    """What a training command makes of its arguments; its own settings file is none that exists."""
    return command_line.settings_from(
        [str(a) for a in arguments],
        prog="command",
        description="",
        preset="absent",
        defaults=defaults or {},
        **keywords,
    )


def settings(*arguments, **keywords):
    return parse("--data.root", "birds", *arguments, **keywords)[0]


@pytest.fixture
def file(tmp_path):
    """Writes text (or bytes) into a YAML file and returns its path."""

    def write(content):
        path = tmp_path / "mine.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_defaults_are_the_releases():
    made = config.make({}).model_dump()
    for section, values in RELEASE.items():
        assert {key: made[section][key] for key in values} == values
    assert made["generator"]["augment_condition"] is True


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("train.epoch", "train.epochs"),
        ("train.batchsize", "train.batch_size"),
        ("epochs", "train.epochs or text.epochs"),
        ("generator.batch_size", "train.batch_size or text.batch_size"),
        ("discriminator.filter", "discriminator.filters"),
        ("filters", "generator.filters or discriminator.filters or text.filters"),
        ("output", "--help lists them all"),
    ],
)
def test_an_unknown_setting_names_the_nearest(wrong, nearest):
    sentence = refusal(parse, f"--{wrong}", "5")
    assert sentence.startswith(f"there is no setting {wrong}: ")
    assert sentence.endswith(nearest)


@pytest.mark.parametrize(
    ("text", "wrong", "nearest"),
    [
        ("train: {epoch: 5}", "train.epoch", "train.epochs"),
        ("trains: {epochs: 5}", "trains", "train"),
        ("batch_size: 5", "batch_size", "train.batch_size or text.batch_size"),
        ("1: 5", "1", "--help lists them all"),
    ],
)
def test_an_unknown_setting_in_a_file_names_file_and_nearest(file, text, wrong, nearest):
    path = file(text)
    sentence = refusal(config.read, path)
    assert sentence.startswith(f"{path}: there is no setting {wrong}: ")
    assert sentence.endswith(nearest)


def test_a_dotted_name_in_a_file_is_told_to_nest(file):
    assert "nest it, as `train: {epochs: …}`" in refusal(config.read, file("train.epochs: 5"))


def test_abbreviations_are_refused():
    assert "nearest is train.epochs" in refusal(parse, "--train.epo", "5")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("train.epochs", "many", "must be a whole number"),
        ("train.epochs", "1.5", "must be a whole number"),
        ("train.epochs", "none", "must be a whole number"),
        ("train.epochs", "", "must be a whole number"),
        ("train.kl_weight", "much", "must be a valid number"),
        ("train.kl_weight", "inf", "must be a finite number"),
        ("train.kl_weight", "nan", "must be"),
        ("generator.augment_condition", "maybe", "must be a valid boolean"),
        ("train.precision", "float8", "must be 'auto', 'float32', 'mixed_bfloat16' or 'mixed_float16'"),
        ("data.image_size", "65", "must be a power of two"),
        ("data.image_size", "4", "must be greater than or equal to 8"),
        ("train.batch_size", "1", "must be greater than or equal to 2"),
        ("train.generator_learning_rate", "-2e-4", "must be greater than 0"),
        ("train.discriminator_learning_rate", "0", "must be greater than 0"),
        ("train.kl_weight", "-0.1", "must be greater than or equal to 0"),
        ("generator.filters", "0", "must be greater than or equal to 1"),
        ("discriminator.filters", "-1", "must be greater than or equal to 0"),
        ("generator.residual_blocks", "-1", "must be greater than or equal to 0"),
        ("train.seed", "2147483648", "must be less than 2147483648"),
        ("train.max_steps", "0", "must be greater than or equal to 1"),
    ],
)
def test_wrong_and_impossible_values(name, value, reason):
    sentence = refusal(settings, f"--{name}={value}")
    assert sentence.startswith(f"{name} is {value!r}, but {reason}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "holds nothing, not a mapping"),
        ("# only a comment\n", "holds nothing, not a mapping"),
        ("- train\n- data\n", "holds a list, not a mapping"),
        ("train\n", "holds a str, not a mapping"),
        ("train: {epochs: 5", "is not valid YAML"),
        ("train:\n\tepochs: 5\n", "is not valid YAML"),
        ("run: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        ("run: 2024-13-45\n", "is not valid YAML"),
        ("train: !!map text\n", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "is not valid YAML"),
        ("train: {epochs: 5}\ntrain: {seed: 1}\n", "train stands there twice"),
        ("train:\n  epochs: 5\n  epochs: 6\n", "epochs stands there twice"),
        ("train: 5", "train is 5, but train is a section"),
        ("data: birds", "data is 'birds', but data is a section"),
        ("generator: [1, 2]", "generator is [1, 2], but generator is a section"),
        ("train: yes", "train is True, but"),
        ("train: {epochs: yes}", "train.epochs is True, but must not be yes or no"),
        ("train: {epochs: [1]}", "train.epochs is [1], but must be a whole number"),
        ("train: {epochs: 1.5}", "train.epochs is 1.5, but must be a whole number"),
        ("train: {epochs: }", "train.epochs is None, but must be a whole number"),
        ("data: {root: {a: b}}", "data.root is {'a': 'b'}, but is not a valid path"),
        ("run: 2024", "run is 2024, but must be a valid string"),
    ],
)
def test_bad_files(file, text, expected):
    path = file(text)
    sentence = refusal(config.read, path)
    assert sentence.startswith(str(path))
    assert expected in sentence


def test_a_fault_in_the_file_is_not_hidden_by_the_command_line(file):
    path = file("train: {epochs: none}")
    assert str(path) in refusal(parse, "--config", path, "--train.epochs", "5")


def test_a_missing_file_lists_the_shipped_ones(tmp_path):
    shipped = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    sentence = refusal(config.read, tmp_path / "mine.yaml")
    assert sentence.startswith(f"there is no settings file {tmp_path / 'mine.yaml'}")
    assert all(name in sentence for name in shipped)
    assert "there is no settings file" in refusal(config.read, tmp_path)  # a folder


def test_every_shipped_file_is_found_by_its_name():
    shipped = [path.stem for path in CONFIGS.glob("*.yaml")]
    assert shipped
    for name in shipped:
        assert config.read(name) == config.read(f"{name}.yaml")


def test_numbers_that_yaml_takes_for_text(file):
    path = file("train: {generator_learning_rate: 2e-4, epochs: '7'}")
    made = config.make(config.read(path)).train
    assert (made.generator_learning_rate, made.epochs) == (2e-4, 7)


def test_an_empty_section_counts_as_not_given(file):
    assert config.make(config.read(file("train:\n#  epochs: 5\nrun: mine\n"))) == config.make({"run": "mine"})


def test_none_is_a_value(file):
    path = file("data: {root: birds}\ntrain: {max_steps: 5}\n")
    made, *_ = parse("--config", path, "--data.root", "none", "--train.max_steps", "None")
    assert (made.data.root, made.train.max_steps) == (None, None)
    assert "absent" in refusal(parse, "--data.root", "none")  # so the command's own file counts again


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(config.make({"data": {"root": "~/birds"}}).data.root) == "/home/someone/birds"


def test_later_sources_win(file):
    defaults = {"data": {"image_size": 256}, "train": {"epochs": 11, "seed": 11, "batch_size": 11}}
    path = file("train: {epochs: 22, seed: 22}\nrun: mine")
    made, folder, fresh = parse("--config", path, "--train.epochs", "33", "--output_dir", "out", defaults=defaults)
    assert (made.data.image_size, made.train.batch_size) == (256, 11)
    assert made.train.seed == 22
    assert made.train.epochs == 33
    assert made.generator.filters == 128
    assert (made.run, str(folder)) == ("mine", "out") and not fresh


def test_without_arguments_the_commands_own_file_counts(monkeypatch, file):
    monkeypatch.chdir(file("train: {epochs: 22}").parent)
    assert (
        command_line.settings_from([], prog="", description="", preset="mine.yaml", defaults={})[0].train.epochs == 22
    )
    assert settings().train.epochs == 600


@pytest.mark.parametrize("name", ["a/b", "..", "../a", ".hidden", "", "a b", "a\\b", "a\nb"])
def test_run_names_stay_in_their_folder(name):
    assert refusal(settings, f"--run={name}").startswith(f"run is {name!r}, but must be a name")


@pytest.mark.parametrize("name", ["birds", "birds-2_b", "v1.5", "vögel", "none"])
def test_run_names_that_are_fine(name):
    assert settings("--run", name).run == name


def test_a_setting_without_a_value():
    assert refusal(parse, "--train.epochs").startswith("--train.epochs: expected one argument")
    assert "no setting 5" in refusal(parse, "5")


@pytest.mark.parametrize("columns", [80, 120])
def test_help_lists_every_setting(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as end:
        parse("--help-all", defaults={"data": {"image_size": 256}})
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    words = " ".join(text.split())
    for section, model in config.Settings.model_fields.items():
        for key, field in getattr(model.annotation, "model_fields", {"": model}).items():
            name = f"{section}.{key}".rstrip(".")
            entry = re.search(rf"--{name} \S+ (.+?) \(default (\S+)\)", words)
            assert entry, f"{name} is missing"
            assert field.description.split()[0] in entry[1]
    for listed in (
        "--train.epochs N passes over the data with both networks training (default 600)",
        "--train.seed N decides initial weights, order, crops, captions and noise (default 0)",
        "drawn anew each time (default 1)",
        "--generator.augment_condition yes|no conditioning augmentation; no: the condition is its mean (default yes)",
        "in pixels; a power of two (default 256)",
        "steps after which to end, whatever the epochs (default none)",
    ):
        assert listed in words


def test_help_is_one_screen_of_what_is_changed_most(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    for common, listed in ((command_line.OF_STAGES, "--train.epochs N"), (command_line.OF_TEXT, "--text.epochs N")):
        with pytest.raises(SystemExit):
            parse("--help", common=common)
        text = capsys.readouterr().out
        assert len(text.splitlines()) <= 50
        assert listed in text and "--help-all" in text and "--train.seed" not in text
        assert text.rstrip().splitlines()[-2] == "example:"
        assert all(f"--{name} " in text for name in (*command_line.COMMON, *common))


def test_changed_lists_both_values():
    mine = config.make({"run": "a", "train": {"epochs": 5}})
    other = config.make({"run": "a", "train": {"epochs": 6}, "data": {"root": "birds"}})
    assert mine.changed(other) == {"train.epochs": (5, 6), "data.root": (None, "birds")}
    assert mine.changed(mine) == {}


def test_what_is_written_is_read(tmp_path):
    made = config.make(
        {
            "run": "1e3",  # text that YAML would take for a number
            "data": {"root": "some/birds", "cache": "disk"},
            "generator": {"augment_condition": False},
            "train": {"generator_learning_rate": 1.5e-5, "max_steps": 7},
        }
    )
    for settings_ in (made, config.make({})):
        config.write(settings_, tmp_path / "config.yaml")
        assert config.make(config.read(tmp_path / "config.yaml")) == settings_
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert set(yaml.safe_load((tmp_path / "config.yaml").read_text())) == set(config.Settings.model_fields)


def test_settings_cannot_be_changed_in_place():
    made = config.make({})
    with pytest.raises(ValueError, match="frozen"):
        made.train.epochs = 5


def test_folders():
    folders = config.Folders(config.Path("out"), "mine")
    assert [str(f) for f in (folders.weights, folders.results, folders.logs)] == [
        "out/weights/mine",
        "out/results/mine",
        "out/logs/mine",
    ]
