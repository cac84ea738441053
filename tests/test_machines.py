"""Several machines train as one does: local processes that `TF_CONFIG` makes a cluster of, through the commands."""

import socket

import pytest
from devices import REGULARIZED, STAGE2, assert_same_training, copies, figures, finish, log_of, start

from stackgan_keras.data import drawn_birds
from stackgan_keras.models import weights
from stackgan_keras.models.weights import ModelConfig


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn") / "birds"
    return drawn_birds.write(root, count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)


def test_two_machines_train_as_one_does(birds, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    processes = [start(one, "train_stage1", {"data.root": birds})]
    processes += machines(2, two, "train_stage1", {"data.root": birds})
    finish(processes, [log_of(one), log_of(two), log_of(two, 1)])
    assert_same_training(one, two, "stage1")
    assert "stage1 of run mine" in log_of(two).read_text()
    assert not spoken(log_of(two, 1))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_both_stages_with_a_text_encoder_of_the_run(birds, tmp_path, count):
    """Its captions are embedded only after the machines have found each other, as TensorFlow wants it."""
    one = tmp_path / "one"
    put_text_encoder(one)
    root = {"data.root": birds, "train.batch_size": 6}
    for command, chosen in (("train_stage1", {}), ("train_stage2", {**STAGE2, "train.pixel_weight": 1})):
        chosen = {**REGULARIZED, **root, **chosen}
        [several] = copies(one, [f"{command}_several"])
        processes = [start(one, command, chosen), *machines(count, several, command, chosen)]
        finish(processes, [log_of(one), *(log_of(several, index) for index in range(count))])
        assert_same_training(one, several, command.removeprefix("train_"))
        assert not any(spoken(log_of(several, index)) for index in range(1, count))


@pytest.mark.slow
def test_joint_training(birds, tmp_path):
    chosen = {
        "data.root": birds,
        "data.image_size": 32,
        "generator.family": "stackgan_v2",
        "generator.first_size": 16,
        "generator.residual_blocks": 1,
        "discriminator.text": "embedding",
        "train.colour_weight": 1,
        **REGULARIZED,
    }
    one, two = tmp_path / "one", tmp_path / "two"
    processes = [start(one, "train", chosen), *machines(2, two, "train", chosen)]
    finish(processes, [log_of(one), log_of(two), log_of(two, 1)])
    assert_same_training(one, two, "stackgan_v2")


@pytest.mark.slow
def test_a_machine_that_is_killed_and_started_again(birds, tmp_path):
    """The others end by themselves; started again, all go on from the last checkpoint."""
    one, two = tmp_path / "one", tmp_path / "two"
    chosen = {"data.root": birds, **REGULARIZED, "train.max_steps": 8}  # two epochs
    alone = start(one, "train_stage1", chosen)
    first, second = machines(2, two, "train_stage1", chosen, DIES_AT=[None, "6"])
    finish([second, first], [log_of(two, 1), log_of(two)], codes=[-9, 2])
    said = log_of(two).read_text()
    assert "error: the machines" in said and "go on from the last checkpoint" in said and "Traceback" not in said
    assert [line["step"] for line in figures(two, "stage1")] == [4]
    finish(machines(2, two, "train_stage1", chosen), [log_of(two), log_of(two, 1)])
    finish([alone], [log_of(one)])
    assert_same_training(one, two, "stage1")


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_machine_that_is_stopped_ends_all_and_they_go_on(birds, tmp_path, stopped):
    """After the same step, of which the first one leaves a checkpoint."""
    one, two = tmp_path / "one", tmp_path / "two"
    chosen = {"data.root": birds, **REGULARIZED, "train.batch_size": 2, "train.max_steps": 17}  # 9 steps an epoch
    chosen["train.save_every"] = 100
    alone = start(one, "train_stage1", chosen)
    stops = [None, None]
    stops[stopped] = "3"
    logs = [log_of(two), log_of(two, 1)]
    finish(machines(2, two, "train_stage1", chosen, STOPS_AT=stops), logs, codes=[130, 130])
    said = logs[0].read_text()
    assert "stopped after step 9; the same command goes on from here" in said and "error:" not in said
    assert not spoken(logs[1]) and not any("Traceback" in log.read_text() for log in logs)
    finish(machines(2, two, "train_stage1", chosen), logs)
    finish([alone], [log_of(one)])
    assert_same_training(one, two, "stage1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "expected"), [("amx_bf16", "mixed_bfloat16, which"), ("sse", "float32, as the machines")]
)
def test_machines_agree_on_a_precision(birds, tmp_path, second, expected):
    chosen = {"data.root": birds, "train.precision": "auto", "train.max_steps": 1}
    finish(
        machines(2, tmp_path, "train_stage1", chosen, PROCESSOR=["avx512_bf16", second]),
        [log_of(tmp_path), log_of(tmp_path, 1)],
    )
    assert f"train.precision auto: {expected}" in log_of(tmp_path).read_text()
    assert "train.precision" not in log_of(tmp_path, 1).read_text()


def machines(count, output, command, settings, **variables):
    """The command on so many machines; `variables` are of their environments, one each."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(count)]}
    each = [{name: values[i] for name, values in variables.items() if values[i]} for i in range(count)]
    return [start(output, command, settings, cluster=cluster, index=i, **each[i]) for i in range(count)]


def put_text_encoder(output):
    made = ModelConfig("text_encoder", {"filters": 8, "recurrent_dim": 8, "text_dim": 16})
    weights.save(made.build(), made, output / "weights/mine/text_encoder.weights.h5")


def spoken(log):
    """What a process printed for people, but for bars that are gone at the end of their work."""
    return [word for word in ("of run", "epoch", "images:", "weights:", "next:") if word in log.read_text()]


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
