"""What `train.precision: auto` becomes, and that a run keeps to it."""

import pytest
import tensorflow as tf

from stackgan_keras import config
from stackgan_keras.training import precision


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("flags : fpu avx512f avx512_bf16 sse", "mixed_bfloat16"),
        ("flags\t\t: fpu amx_bf16 amx_tile", "mixed_bfloat16"),
        ("flags : fpu avx512f avx2", "float32"),
        ("Features : fp asimd bf16", "float32"),
    ],
)
def test_processors(monkeypatch, tmp_path, flags, chosen):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\nprocessor : 1\n")
    found = precision._processor_flags(tmp_path / "cpuinfo")
    monkeypatch.setattr(precision, "_processor_flags", lambda: found)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert precision._choose()[0] == chosen


def test_a_machine_that_does_not_tell(tmp_path):
    assert precision._processor_flags(tmp_path / "nothing") == set()


@pytest.mark.parametrize(
    ("capabilities", "chosen"), [([(7, 5)], "mixed_float16"), ([(9, 0), (6, 1)], "float32"), ([None], "float32")]
)
def test_gpus(monkeypatch, capabilities, chosen):
    details = [{} if each is None else {"compute_capability": each} for each in capabilities]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(range(len(details))))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    assert precision._choose()[0] == chosen


def test_auto_is_settled_once_said_and_kept(monkeypatch, tmp_path, capsys):
    asked = config.make({"train": {"precision": "auto"}})
    monkeypatch.setattr(precision, "_choose", lambda: ("mixed_bfloat16", "as tested"))
    first = precision.settled(asked, tmp_path)
    assert first.train.precision == "mixed_bfloat16"
    assert capsys.readouterr().out == "train.precision auto: mixed_bfloat16, as tested\n"
    config.write(first, tmp_path / "config.yaml")
    monkeypatch.setattr(precision, "_choose", lambda: ("float32", "as another machine"))
    assert precision.settled(asked, tmp_path) == first  # where the run goes on
    assert "mixed_bfloat16, as this run began" in capsys.readouterr().out
    named = config.make({"train": {"precision": "float32"}})
    assert precision.settled(named, tmp_path) is named
    assert not capsys.readouterr().out
