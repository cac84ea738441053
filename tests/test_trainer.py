"""The training loop: a run that was stopped ends exactly like one that never was."""

import json
import os
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import make_dataset
from PIL import Image

from stackgan_keras import config
from stackgan_keras.data.decoding import decode
from stackgan_keras.data.pipeline import AdversarialStream
from stackgan_keras.errors import InputError
from stackgan_keras.models import discriminators, generators
from stackgan_keras.training import distribution, objective, optimizers, samples
from stackgan_keras.training.stopping import Stop
from stackgan_keras.training.train_step import TrainStep
from stackgan_keras.training.trainer import Schedule, Trainer

SIZES = {"filters": 2, "text_dim": 6, "condition_dim": 4}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("images"))


class Seen:
    """Outputs that only count."""

    def __init__(self):
        self.grids, self.saved = [], 0

    def figures(self):
        return {}

    def grid(self):
        return np.zeros((4, 4, 3), np.uint8)

    def write_grid(self, epoch, grid):
        self.grids.append(epoch)
        return f"grid {epoch}"

    def save(self):
        self.saved += 1


class Trial:
    """A tiny Stage I run in a folder of its own."""

    def __init__(self, dataset, folder, steps, train_step=None, save_every=2, jit_compile=False, ema=False, **changes):
        keras.utils.set_random_seed(0)
        widths = {"noise": 5, "epsilon": 4}
        stream = AdversarialStream(dataset, decode(dataset, 16, cache="memory"), 16, 4, widths=widths)
        strategy = distribution.make_strategy()
        with strategy.scope():
            self.generator = generators.stage1_generator(image_size=16, noise_dim=5, **SIZES)
            self.discriminator = discriminators.discriminator(image_size=16, **SIZES)
            networks, self.adams = (self.generator, self.discriminator), []
            for network in networks:
                self.adams.append(optimizers.make_adam(1e-3, decay_every=3))
                self.adams[-1].build(network.trainable_variables)
            self.slow, after_step = generators.stage1_generator(image_size=16, noise_dim=5, **SIZES), None
            if ema:
                self.slow.set_weights(self.generator.get_weights())
                after_step = optimizers.make_ema(self.slow, self.generator, 0.9)
        task = objective.adversarial(self.generator, {"image": self.discriminator}, config.Settings())
        adams = dict(zip(("generator", "discriminator"), self.adams, strict=True))
        self.seen = Seen()
        values = {
            "strategy": strategy,
            "train_step": train_step or TrainStep(task, adams),
            "trained": dict(zip("gdabs", (*networks, *self.adams, self.slow), strict=True)),
            "stream": stream,
            "schedule": Schedule(steps, sample_every=2, save_every=save_every, jit_compile=jit_compile),
            "folder": folder,
            "outputs": self.seen,
            "after_step": after_step,
        }
        self.run = Trainer(**{**values, **changes})

    def variables(self):
        return [v.numpy() for network in (self.generator, self.discriminator) for v in network.variables]


def test_stopped_and_continued_equals_unbroken_to_the_bit(dataset, tmp_path):
    unbroken = Trial(dataset, tmp_path / "one", steps=10)
    unbroken.run()
    Trial(dataset, tmp_path / "two", steps=4).run()
    continued = Trial(dataset, tmp_path / "two", steps=10)
    continued.run()
    for one, two in zip(unbroken.variables(), continued.variables(), strict=True):
        np.testing.assert_array_equal(one, two)
    figures = lines_of(tmp_path / "one")
    assert figures == lines_of(tmp_path / "two")
    assert [line["epoch"] for line in figures] == [1, 2, 3, 4, 5]


def open_lines(folder):
    return (folder / "metrics.jsonl").read_text().splitlines()


def lines_of(folder):
    return [{k: v for k, v in json.loads(line).items() if k != "images_per_second"} for line in open_lines(folder)]


def test_interrupted_within_an_epoch(dataset, tmp_path):
    unbroken = Trial(dataset, tmp_path / "one", steps=6)
    unbroken.run()
    broken = Trial(dataset, tmp_path / "two", steps=6)
    original, calls = broken.run.stream.batches, []

    def stop_after_three(first, last, **shares):
        def count(batch):
            calls.append(1)
            if len(calls) > 3:
                raise KeyboardInterrupt
            return batch

        return map(count, original(first, last, **shares))

    broken.run._distribute = lambda first: stop_after_three(first, 6)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    assert int(broken.run.step.numpy()) == 3
    continued = Trial(dataset, tmp_path / "two", steps=6)
    continued.run()
    for one, two in zip(unbroken.variables(), continued.variables(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert lines_of(tmp_path / "one") == lines_of(tmp_path / "two")  # the stopped epoch's figures, too


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_between_two_steps(dataset, tmp_path, number, monkeypatch):
    """One that comes while an epoch's figures are made would lose them if it ended that at once."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        Trial(dataset, tmp_path / "one", steps=6).run()
        broken = Trial(dataset, tmp_path / "two", steps=6, save_every=100)
        monkeypatch.setattr(broken.seen, "figures", lambda: os.kill(os.getpid(), number) or {})
        with pytest.raises(KeyboardInterrupt):
            broken.run()
        assert int(broken.run.step.numpy()) == len(open_lines(tmp_path / "two")) * 2 == 2
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    Trial(dataset, tmp_path / "two", steps=6).run()
    assert lines_of(tmp_path / "one") == lines_of(tmp_path / "two")


def test_a_second_signal_interrupts_at_once():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.asked
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_when_it_samples_and_saves(dataset, tmp_path):
    trial = Trial(dataset, tmp_path, steps=10)  # 5 epochs of 2 steps
    trial.run()
    assert (trial.seen.grids, trial.seen.saved) == ([2, 4, 5], 3)
    assert len(list((tmp_path / "checkpoints").glob("*.index"))) == 2
    assert list((tmp_path / "tensorboard").iterdir())


def test_one_live_line_and_a_word_of_what_is_written(dataset, tmp_path, capsys):
    Trial(dataset, tmp_path, 4).run()
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if line.startswith("epoch")]
    assert lines[0] == "epoch 2: images grid 2"
    assert lines[-1] == f"epoch 2: checkpoint {tmp_path}/checkpoints/ckpt-4"
    last = printed.err.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("epoch 2 of 2") and "discriminator=" in last and "generator=" in last and "kl=" not in last


def test_a_finished_run_says_so_and_changes_nothing(dataset, tmp_path, capsys):
    Trial(dataset, tmp_path, steps=4).run()
    again = Trial(dataset, tmp_path, steps=4)
    again.run()
    assert "already trained for 4 steps" in capsys.readouterr().out
    assert len(open_lines(tmp_path)) == 2


def test_learning_rate_halves_by_the_step_alone():
    adam = optimizers.make_adam(2e-4, decay_every=3)
    rates = []
    for step in range(7):
        adam.iterations.assign(step)
        rates.append(float(adam.learning_rate))
    np.testing.assert_allclose(rates, [2e-4] * 3 + [1e-4] * 3 + [5e-5])


def test_a_loss_that_is_no_number_stops_the_run(dataset, tmp_path):
    Trial(dataset, tmp_path, steps=4).run()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    bad = Trial(dataset, tmp_path, steps=8, train_step=lambda batch: {"generator": tf.constant(np.nan)})
    with pytest.raises(InputError, match="the generator loss became nan in step 5"):
        bad.run()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == kept


def test_weights_that_are_no_numbers_are_not_saved(dataset, tmp_path):
    Trial(dataset, tmp_path, steps=4).run()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    bad = Trial(dataset, tmp_path, steps=8, train_step=lambda batch: {"generator": tf.constant(1.0)})
    kernel = bad.discriminator.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.inf))
    with pytest.raises(InputError, match="the d's weights are not finite at step 8"):
        bad.run()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == kept


def test_a_checkpoint_of_another_network_is_refused(dataset, tmp_path):
    Trial(dataset, tmp_path, steps=2).run()
    for file in (tmp_path / "checkpoints").glob("*.data*"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="does not fit this run or is damaged"):
        Trial(dataset, tmp_path, steps=4)


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 16
    file.write_bytes(content)


DATA, INDEX = "ckpt-8.data-00000-of-00001", "ckpt-8.index"
DAMAGES = {
    **{f"{do.__name__} {name}": (do, name) for do in (truncate, flip) for name in (DATA, INDEX)},
    "no numbers": (Path.unlink, DATA),
    "an empty index": (lambda file: file.write_bytes(b""), INDEX),
}


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(dataset, tmp_path, capsys):
    trial = Trial(dataset, tmp_path / "whole", steps=8)
    trial.run()
    run, checkpoint = trial.run, trial.run.manager.checkpoint
    after_eight, metrics = trial.variables(), open_lines(tmp_path / "whole")
    for name, (damage, file) in DAMAGES.items():
        run.folder = tmp_path / name
        shutil.copytree(tmp_path / "whole", run.folder)
        damage(run.folder / "checkpoints" / file)
        capsys.readouterr()
        assert run._resume(checkpoint) == 4, name
        said, kept = capsys.readouterr().out, run.folder / "checkpoints"
        assert f"the checkpoint {kept}/ckpt-8 does not fit this run or is damaged (" in said, name
        assert said.endswith(f"): going on from {kept}/ckpt-4\n"), name
    again = Trial(dataset, run.folder, steps=8)
    again.run()
    for one, two in zip(after_eight, again.variables(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(open_lines(run.folder)) == len(metrics)
    assert {file.stem for file in kept.glob("*.index")} == {"ckpt-4", "ckpt-8"}  # both are whole again
    for file in kept.glob("*.data*"):
        flip(file)
    with pytest.raises(InputError, match=r"ckpt-8 does not fit this run or is damaged .* --fresh to start over"):
        run._resume(checkpoint)


def test_checkpoints_are_found_without_their_list(dataset, tmp_path):
    trial = Trial(dataset, tmp_path, steps=4)
    trial.run()
    for damage in (lambda file: file.write_bytes(b"\xff\x00"), Path.unlink):
        damage(tmp_path / "checkpoints/checkpoint")
        assert trial.run._resume(trial.run.manager.checkpoint) == 4


def test_two_checkpoints_are_kept_however_often_it_goes_on(dataset, tmp_path, capfd):
    for steps in (2, 4, 6, 8):
        Trial(dataset, tmp_path, steps, save_every=1).run()
    assert {file.stem for file in (tmp_path / "checkpoints").glob("*.index")} == {"ckpt-6", "ckpt-8"}
    assert "WARNING" not in capfd.readouterr().err


def test_a_line_half_written_by_a_killed_run_is_dropped(dataset, tmp_path):
    Trial(dataset, tmp_path, steps=4).run()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "epo')
    Trial(dataset, tmp_path, steps=6).run()
    assert [json.loads(line)["step"] for line in open_lines(tmp_path)] == [2, 4, 6]


def test_batch_that_devices_cannot_share(dataset, tmp_path):
    class ThreeDevices:
        num_replicas_in_sync = 3

    with pytest.raises(InputError, match=r"train\.batch_size is 4, which 3 devices cannot share equally"):
        Trial(dataset, tmp_path, steps=2, strategy=ThreeDevices())


def test_jit_compiled_steps(dataset, tmp_path):
    plain, compiled = (
        Trial(dataset, tmp_path / str(jit), steps=4, jit_compile=jit, save_every=100) for jit in (False, True)
    )
    plain.run()
    compiled.run()
    lines = [json.loads(open_lines(tmp_path / str(jit))[0]) for jit in (False, True)]
    assert lines[0]["discriminator"] == pytest.approx(lines[1]["discriminator"], rel=1e-3)


def test_a_sample_grid_is_a_image_of_the_same_noise_each_time(tmp_path):
    dataset = make_dataset(tmp_path, count=5)
    generator = generators.stage1_generator(image_size=16, noise_dim=5, **SIZES)
    grid = samples.SampleGrid(dataset, 16, truncated=False, seed=0, count=3, rows=2)
    assert grid.captions == ["image 0 caption 0", "image 2 caption 0", "image 4 caption 0"]
    np.testing.assert_array_equal(grid(generator), grid(generator))
    Image.fromarray(grid(generator)).verify()
    for variable in generator.trainable_variables:
        variable.assign(5 * variable)  # initial weights are so small that all images are grey
    one, two = (samples.generate(generator, grid.texts, copy, 0)["image"] for copy in (0, 1))
    assert one.shape == two.shape == (3, 16, 16, 3) and one.dtype == np.uint8
    assert np.any(one != two)


def test_the_moving_average_by_hand():
    keras.utils.set_random_seed(0)
    fast, slow = (generators.stage1_generator(image_size=16, noise_dim=5, **SIZES) for _ in range(2))
    slow.set_weights(fast.get_weights())
    move = tf.function(optimizers.make_ema(slow, fast, 0.9))
    value = expected = fast.variables[0].numpy()
    for steps in (1, 2, 1000):
        value = value + 1.0
        fast.variables[0].assign(value)
        keep = min(0.9, (1 + steps) / (10 + steps))
        expected = keep * expected + (1 - keep) * value
        move(tf.constant(steps, tf.int64))
        np.testing.assert_allclose(slow.variables[0].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(slow.variables[1].numpy(), fast.variables[1].numpy(), rtol=1e-6)


def test_the_moving_average_moves_after_each_step_and_is_resumed(dataset, tmp_path):
    def trained(folder, steps):
        trial = Trial(dataset, folder, steps, ema=True)
        trial.run()
        return [v.numpy() for v in trial.slow.variables], [v.numpy() for v in trial.generator.variables]

    unbroken, fast = trained(tmp_path / "one", 8)
    trained(tmp_path / "two", 3)
    resumed, _ = trained(tmp_path / "two", 8)
    assert all(np.any(slow != now) for slow, now in zip(unbroken, fast, strict=True))  # batch norm's variables too
    for mine, theirs in zip(unbroken, resumed, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_first_steps_of_rmsprop_are_no_longer_than_later_ones():
    optimizer = optimizers.make_rmsprop(0.1, decay=0.5, decay_every=2)
    weight = keras.Variable([0.0, 0.0], dtype="float32")
    optimizer.build([weight])
    gradients = np.float32([[2.0, 1e-3], [2.0, -3e-3], [2.0, 2e-3], [2.0, 5e-3]])
    expected = np.zeros(2)
    for step, gradient in enumerate(gradients):
        seen = gradients[: step + 1]
        age = 0.99 ** np.arange(step, -1, -1)[:, None]
        mean_square = (age * seen**2).sum(0) / age.sum()  # of the gradients there were, and nothing beside
        expected -= 0.1 * 0.5 ** (step // 2) * gradient / np.sqrt(mean_square)
        optimizer.apply([gradient])
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-3)
    unchanging = -0.1 * (1 + 1 + 0.5 + 0.5)  # a gradient that stays as it is makes steps of the rate
    assert weight.numpy()[0] == pytest.approx(unchanging, rel=1e-5)
