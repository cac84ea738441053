"""One training step against others (benchmarks/train_step.py): its rows, its table, and tiny races."""

import shutil
import subprocess
import sys

import pytest
from helpers import REPOSITORY, benchmark

BENCHMARKS = REPOSITORY / "benchmarks"
TINY = [*("--stage", "2", "--image-size", "64", "--batch-size", "2", "--rounds", "1", "--threads", "1")]
TINY += [*("--generator-filters", "8", "--discriminator-filters", "4", "--residual-blocks", "1")]


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return benchmark("train_step")


@pytest.fixture
def before(tmp_path):
    """A copy of the package that says when it is imported."""
    folder = tmp_path / "before"
    shutil.copytree(REPOSITORY / "stackgan_keras", folder / "stackgan_keras")
    with (folder / "stackgan_keras/training/train_step.py").open("a") as file:
        file.write('\nprint("the copy is imported")\n')
    return folder


def rows(program, monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["train_step.py", *map(str, words)])
    return program.rows(program.parse())


def race(*words) -> list[str]:
    """What the program prints."""
    command = [sys.executable, BENCHMARKS / "train_step.py", *TINY, *words]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout.splitlines()


def test_every_row_has_its_own_precision(program, monkeypatch):
    ways = rows(program, monkeypatch)
    mixed = {name for name, way in ways.items() if way.precision == "mixed_bfloat16"}
    assert mixed == {name for name in ways if "bfloat16" in name} and len(mixed) == 2
    assert {way.reference for way in ways.values()} == {"PyTorch"} and ways["PyTorch"].precision == "float32"
    assert set(rows(program, monkeypatch, "--float32")) == set(ways) - mixed
    more = rows(program, monkeypatch, "--without-onednn", "--leave-out", "plain Keras")
    assert set(more) == {*ways, "stackgan_keras without oneDNN"} - {"plain Keras"}
    for left_out in ("PyTorch", "no such row"):
        with pytest.raises(SystemExit, match=left_out):
            rows(program, monkeypatch, "--leave-out", left_out)


def test_another_checkout_is_raced_in_the_same_precisions(program, monkeypatch, before):
    ways = rows(program, monkeypatch, "--narrow", "--beside", before)
    assert {name: (way.precision, way.checkout, way.reference) for name, way in ways.items()} == {
        "stackgan_keras, bfloat16": ("mixed_bfloat16", None, "stackgan_keras at before, bfloat16"),
        "stackgan_keras": ("float32", None, "stackgan_keras at before"),
        "stackgan_keras at before, bfloat16": (
            *("mixed_bfloat16", str(before)),
            "stackgan_keras at before, bfloat16",
        ),
        "stackgan_keras at before": ("float32", str(before), "stackgan_keras at before"),
    }
    alone = rows(program, monkeypatch, "--narrow")
    assert {name: way.reference for name, way in alone.items()} == dict.fromkeys(alone, "stackgan_keras")
    wide = rows(program, monkeypatch, "--beside", before)
    assert set(wide) == {*program.WAYS, *ways} and {way.reference for way in wide.values()} == {"PyTorch"}
    with pytest.raises(SystemExit):
        rows(program, monkeypatch, "--beside", before / "stackgan_keras")


def test_a_ratio_is_to_the_rows_own_reference(program):
    def worker(name, reference, *seconds):
        way = program.Way("keras_steps", "make_package", reference=reference)
        return program.Worker(name, way, None, None, {}, 1.0, list(seconds), 10**9)

    workers = [worker("a", "c", 1, 2, 4), worker("b", "d, mixed", 1, 1, 1), worker("c", "c", 2, 2, 2)]
    workers.append(worker("d, mixed", "d, mixed", 3, 3, 6))
    lines = program.table({worker.name: worker for worker in workers}, 8).splitlines()
    assert "speed to c, same precision" in lines[0]
    assert lines[2] == "| a | 4 | 2 to 8 | 1.0 | 1.00 | 1.00 |"
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["1.00", "3.00", "1.00", "1.00"]


def test_other_networks_are_not_raced(program):
    program.check_equal({"a": {"generator": 5}, "b": {"generator": 5}})
    with pytest.raises(SystemExit, match="not the same networks"):
        program.check_equal({"a": {"generator": 5}, "b": {"generator": 6}})


def test_a_race_of_narrow_networks_against_another_checkout(before):
    printed = race("--narrow", "--float32", "--beside", before)
    assert printed.count("the copy is imported") == 1
    table = [line.split("|")[1].strip() for line in printed if line.startswith("|")]
    assert table[2:] == ["stackgan_keras", "stackgan_keras at before"]
    assert "speed to stackgan_keras at before |" in "\n".join(printed)


@pytest.mark.slow
def test_a_race_of_all_rows():
    pytest.importorskip("torch", reason="the reference is written in torch")
    table = [line.split("|")[1].strip() for line in race() if line.startswith("|")]
    assert table[2:] == [
        *("stackgan_keras, bfloat16", "stackgan_keras", "plain Keras"),
        *("PyTorch", "PyTorch, bfloat16, channels last"),
    ]
