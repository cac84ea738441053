"""Tests of `convert`: each network of the original programs comes over, each other file is refused with a reason."""

import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import test_torch7
from helpers import ended

from stackgan_keras import StackGAN, convert, images, text_encoder, weights
from stackgan_keras.errors import InputError
from stackgan_keras.porting import checkpoints, conversion, embedded_sentences

TINY = Path(__file__).parent / "pytorch_tiny.npz"
NETWORKS = ("stage1_gen", "stage1_dis", "stage2_gen", "stage2_dis")
TINY_TEXT = {"text_dim": 16, "condition_dim": 8, "architecture": "pytorch"}
TINY_STAGE1 = {"image_size": 64, "filters": 4, **TINY_TEXT, "noise_dim": 8}
TINY_DISCRIMINATOR = {"filters": 2, "condition_dim": 8, "architecture": "pytorch"}
TINY_CONFIGS = {
    "stage1_gen": weights.ModelConfig("stage1_generator", TINY_STAGE1),
    "stage2_gen": weights.ModelConfig(
        "stage2_generator", {"stage1": TINY_STAGE1, "image_size": 256, "filters": 4, **TINY_TEXT, "residual_blocks": 1}
    ),
    "stage1_dis": weights.ModelConfig(
        "discriminator", {"image_size": 64, "logits": ["conditional"], **TINY_DISCRIMINATOR}
    ),
    "stage2_dis": weights.ModelConfig(
        "discriminator", {"image_size": 256, "logits": ["conditional", "unconditional"], **TINY_DISCRIMINATOR}
    ),
}


def tiny(network):
    """One network's tensors from the golden file, by their names in the release."""
    with np.load(TINY) as file:
        return {n.removeprefix(f"{network}/"): file[n] for n in file.files if n.startswith(f"{network}/")}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="reading .pth files needs torch")


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command as a shell would; returns its exit code, its output and its errors."""

    def run(*arguments):
        return ended(convert.main, arguments, monkeypatch, capsys)

    return run


@pytest.fixture
def refused(command):
    """Runs the command, which must end with one line on stderr; returns that line."""

    def run(*arguments):
        code, output, errors = command(*arguments)
        assert (code, output) == (2, "")
        assert errors.startswith("error: ")
        assert errors.count("\n") == 1
        return errors.strip()

    return run


def differences(network, model, golden):
    """The largest differences from what the original program made of the golden inputs, by name."""
    stage = network[:6]
    expected = {n.removeprefix(f"{stage}_"): v for n, v in golden.items() if n.startswith(f"{stage}_")}
    called = {name: name for name in model.output}
    if network.endswith("dis"):  # it has seen what its generator made
        expected["text"] = expected["mean"]
        called = {"conditional": "matched_logits", "unconditional": "unconditional_logits"}
    made = model({name: expected[name] for name in model.input}, training=False)
    return {name: float(np.abs(np.asarray(made[name]) - expected[called[name]]).max()) for name in made}


# -- the golden .pth files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_golden_files_give_the_golden_outputs(network, torch, shared, tmp_path, command):
    folder = shared / "golden/pytorch_small"
    out = tmp_path / f"{network}.weights.h5"
    code, output, errors = command(folder / f"{network}.pth", "--out", out)
    assert (code, errors) == (0, "")
    assert f"wrote {out}: {network}.pth is a {weights.read_config(out).network}" in output
    with np.load(folder / "io.npz") as golden:
        far = differences(network, weights.load(out), dict(golden))
    assert far
    assert max(far.values()) < 1e-4, far
    assert weights.read_config(out).keywords["filters"] == 8


def variant(torch, folder, network, path, how):
    """The golden file saved once more in another way that is found in the wild."""
    state = torch.load(folder / f"{network}.pth", weights_only=True)
    counters = {n for n in state if n.endswith("num_batches_tracked")}
    norms = {n.removesuffix("running_var") for n in state if n.endswith("running_var")}
    if how == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif how == "without counters":
        torch.save({n: v for n, v in state.items() if n not in counters}, path)
    elif how == "with counters":
        torch.save(state | {f"{n}num_batches_tracked": torch.tensor(7) for n in norms}, path)
    elif how == "data parallel":
        torch.save({f"module.{n}": v for n, v in state.items()}, path)
    elif how == "nested":
        torch.save({"state_dict": state, "epoch": 600, "optimizer": {"state": {}, "lr": 2e-4}}, path)
    elif how == "parameters":
        torch.save({n: torch.nn.Parameter(v, v.is_floating_point()) for n, v in state.items()}, path)
    elif how == "double":
        torch.save({n: v.double() for n, v in state.items()}, path)


@pytest.mark.parametrize(
    "how", ["legacy", "without counters", "with counters", "data parallel", "nested", "parameters", "double"]
)
@pytest.mark.parametrize("network", ["stage1_gen", "stage2_dis"])
def test_however_it_was_saved(network, how, torch, shared, tmp_path):
    folder = shared / "golden/pytorch_small"
    path = tmp_path / "netX.pth"
    variant(torch, folder, network, path, how)
    (state,) = conversion.networks(checkpoints.read(path))[0].values()
    plain, config = conversion.convert(checkpoints.read(folder / f"{network}.pth"))
    model, same_config = conversion.convert(state)
    assert same_config == config
    expected = weights.named_variables(plain)
    for name, variable in weights.named_variables(model).items():
        assert np.array_equal(variable, expected[name]), name


# -- files without torch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_a_data_parallel_network_is_one_without_its_prefix(network):
    plain = tiny(network)
    found, left = conversion.networks({f"netX/module.{name}": value for name, value in plain.items()})
    assert (list(found), left) == (["netX"], [])
    assert found["netX"].keys() == plain.keys()


@pytest.mark.parametrize("network", NETWORKS)
def test_sizes_are_recognized(network):
    assert conversion.recognize(tiny(network)) == TINY_CONFIGS[network]


@pytest.mark.parametrize("network", ["stage1_gen", "stage2_gen"])
def test_npz_gives_the_golden_outputs(network, tmp_path, command):
    np.savez(tmp_path / "net.npz", **tiny(network))
    out = tmp_path / "net.weights.h5"
    assert command(tmp_path / "net.npz", "--out", out)[0] == 0
    model, stage = weights.load(out), network[:6]
    with np.load(TINY) as golden:
        made = model({name: golden[f"{stage}_{name}"] for name in model.input}, training=False)
        step = 4 if stage == "stage1" else 8
        assert np.abs(golden[f"{stage}_image_every_{step}th_pixel"] - made["image"][:, ::step, ::step]).max() < 1e-4
        assert np.abs(golden[f"{stage}_mean"] - made["mean"]).max() < 1e-4


@pytest.mark.parametrize("image_size", [8, 16, 32, 64, 128, 256, 512])
def test_discriminators_of_any_size_are_recognized(image_size):
    sizes = {"image_size": image_size, "filters": 1, "logits": ["conditional"], "condition_dim": 5}
    config = weights.ModelConfig("discriminator", sizes | {"architecture": "pytorch"})
    variables = weights.named_variables(config.build())
    state = {}
    (kind,) = (kind for kind in conversion.KINDS if kind.prefixes == ("encode_img.",))
    for theirs, (path, _) in kind.tensors(config.keywords).items():
        value = np.asarray(variables[path])
        state[theirs] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
    assert conversion.recognize(state) == config
    converted = weights.named_variables(conversion.convert(state)[0])
    assert all(np.array_equal(converted[path], variables[path]) for path in variables)


# -- checkpoints of the TensorFlow release ------------------------------------------------------------------------

TF = {"text_dim": 6, "condition_dim": 3, "architecture": "tensorflow"}
TF_STAGE1 = {"image_size": 32, "filters": 2, **TF, "noise_dim": 4}
TF_CONFIGS = {
    "stage1_gen": weights.ModelConfig("stage1_generator", TF_STAGE1),
    "stage2_gen": weights.ModelConfig(
        "stage2_generator", {"stage1": TF_STAGE1, "image_size": 64, "filters": 4, **TF, "residual_blocks": 2}
    ),
    "stage1_dis": weights.ModelConfig(
        "discriminator", {"image_size": 64, "filters": 2, "logits": ["conditional"], "text": "embedding", **TF}
    ),
    "stage2_dis": weights.ModelConfig(
        "discriminator", {"image_size": 128, "filters": 2, "logits": ["conditional"], "text": "embedding", **TF}
    ),
}


@pytest.fixture(scope="module")
def tf_networks():
    """A tiny network of each kind, and its tensors by their names in the TensorFlow release."""
    made, tensors, rng = {}, {}, np.random.default_rng(0)
    kinds = {kind.network: kind for kind in conversion.KINDS[-3:]}
    for name, config in TF_CONFIGS.items():
        made[name] = weights.named_variables(config.build())
        for theirs, (path, order) in kinds[config.network].tensors(config.keywords).items():
            value = tensors.get(theirs)  # Stage II holds the Stage I that is there too
            if value is None:
                value = rng.normal(size=made[name][path].shape).astype(np.float32)
            made[name][path].assign(conversion.arranged(value, order))
            tensors[theirs] = value
    return made, tensors


def save_tensorflow(prefix, tensors, version="V2"):
    """Writes a checkpoint as TensorFlow's own `Saver` does; returns its prefix."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        for name, value in tensors.items():
            v1.get_variable(name, initializer=value, use_resource=False)
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver(write_version=getattr(v1.train.SaverDef, version))
        saver.save(session, str(prefix), write_meta_graph=False)
    return prefix


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_a_checkpoint_of_the_tensorflow_release(version, tf_networks, tmp_path, command):
    made, tensors = tf_networks
    bookkeeping = "d_net/conv_batch_norm/conv_batch_norm/d_net/conv_batch_norm/conv_batch_norm/mean/biased"
    extra = {bookkeeping: np.ones(4, np.float32), "d_net/custom_conv2d/custom_conv2d/w/Adam": np.ones(3, np.float32)}
    file = save_tensorflow(tmp_path / "birds_model_7.ckpt", tensors | extra, version)
    assert file.is_file() == (version == "V1")
    code, output, errors = command(file, "--out", tmp_path / "weights")
    assert (code, errors) == (0, "")
    assert f"left out, as it belongs to no network: {bookkeeping}, d_net/custom_conv2d/custom_conv2d/w/Adam\n" in output
    assert sorted(p.name for p in (tmp_path / "weights").iterdir()) == sorted(f"{n}.weights.h5" for n in TF_CONFIGS)
    for name, config in TF_CONFIGS.items():
        path = tmp_path / "weights" / f"{name}.weights.h5"
        assert weights.read_config(path) == config
        for variable, value in weights.named_variables(weights.load(path)).items():
            np.testing.assert_array_equal(value, made[name][variable], err_msg=variable)


@pytest.mark.parametrize("ending", [".index", ".data-00000-of-00001", ".meta"])
def test_any_file_of_a_checkpoint_will_do(ending, tf_networks, tmp_path, command):
    tensors = {name: value for name, value in tf_networks[1].items() if name.startswith("d_net/")}
    prefix = save_tensorflow(tmp_path / "model.ckpt", tensors)
    out = tmp_path / "classifier.weights.h5"
    assert command(f"{prefix}{ending}", "--out", out)[0] == 0
    assert weights.read_config(out) == TF_CONFIGS["stage1_dis"]


def test_a_checkpoint_that_is_not_whole(tf_networks, tmp_path, refused):
    prefix = save_tensorflow(tmp_path / "model.ckpt", tf_networks[1])
    out = tmp_path / "weights"
    data, index = tmp_path / "model.ckpt.data-00000-of-00001", tmp_path / "model.ckpt.index"
    whole = data.read_bytes()
    for content in (whole[: len(whole) // 2], bytes(len(whole)), b""):
        data.write_bytes(content)
        assert f"{prefix} cannot be read as a TensorFlow checkpoint" in refused(prefix, "--out", out)
    data.unlink()
    assert f"{prefix} cannot be read as a TensorFlow checkpoint" in refused(index, "--out", out)
    data.write_bytes(whole)
    index.write_bytes(index.read_bytes()[:-100])
    assert f"{prefix} cannot be read as a TensorFlow checkpoint" in refused(prefix, "--out", out)
    index.unlink()
    assert "give all its files, whole, side by side" in refused(data, "--out", out)
    assert not out.exists()


def test_half_a_file_of_one_is_no_checkpoint(tf_networks, tmp_path, refused):
    file = save_tensorflow(tmp_path / "model.ckpt", tf_networks[1], "V1")
    whole = file.read_bytes()
    file.write_bytes(whole[len(whole) // 2 :])  # it ends as one
    assert f"{file} cannot be read as a TensorFlow checkpoint" in refused(file, "--out", tmp_path / "weights")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda t: t.pop("hr_g_net/conv_batch_norm_3/conv_batch_norm_3/mean"), "conv_batch_norm_3/mean is missing"),
        (lambda t: t.pop("hr_g_net/custom_fully_connected/Linear/Matrix"), "Linear/Matrix is missing"),
        (lambda t: [t.pop(n) for n in list(t) if n.startswith("g_net/")], "g_net/custom_fully_connected/Linear/Matrix"),
        (
            lambda t: [t.pop(f"g_net/custom_conv2d_{i}/custom_conv2d_{i}/w") for i in (7, 8)],
            "g_net/custom_conv2d_7/custom_conv2d_7/w is missing",
        ),
        (
            lambda t: t.update({"g_net/fc_batch_norm/batch_norm/beta": np.ones(3, np.float32)}),
            "g_net/fc_batch_norm/batch_norm/beta is (3,), which does not give (256,) as",
        ),
        (
            lambda t: t.update({"hr_g_net/conv_batch_norm_40/conv_batch_norm_40/mean": np.ones(3, np.float32)}),
            "conv_batch_norm_40/mean is left over",
        ),
    ],
)
def test_a_checkpoint_with_other_tensors(spoil, expected, tf_networks, tmp_path, refused):
    tensors = {name: value for name, value in tf_networks[1].items() if "g_net" in name}
    spoil(tensors)
    prefix = save_tensorflow(tmp_path / "model.ckpt", tensors)
    sentence = refused(prefix, "--out", tmp_path / "weights")
    assert expected in sentence and "generator" in sentence
    assert not (tmp_path / "weights").exists()


def test_a_slice_of_a_checkpoint_that_announces_the_rest(tmp_path, refused):
    tf = pytest.importorskip("tensorflow")
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"),
        tensor_names=["g_net/w"],
        shape_and_slices=["1000000 1000000 0,1:0,1"],
        tensors=[np.ones((1, 1), np.float32)],
    )
    sentence = refused(tmp_path / "model.ckpt", "--out", tmp_path / "weights")
    assert "it announces 1,000,000,000,000 numbers, which it does not hold" in sentence


def test_a_checkpoint_of_something_else(tmp_path, refused):
    prefix = save_tensorflow(tmp_path / "model.ckpt", {"dense/kernel": np.ones((2, 3), np.float32)})
    assert "holds dense/kernel: this is no network" in refused(prefix, "--out", tmp_path / "weights")


# -- text encoders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["birds", "flowers"])
def test_text_encoders(form, tmp_path, command):
    keywords = {"variant": form, "filters": 6, "recurrent_dim": 5, "text_dim": 4}
    config = weights.ModelConfig("text_encoder", keywords)
    variables, rng = weights.named_variables(config.build()), np.random.default_rng(0)
    (kind,) = (kind for kind in conversion.KINDS if kind.network == "text_encoder")
    state = {}
    for theirs, (path, _) in kind.tensors(keywords).items():
        shape = variables[path].shape
        state[theirs] = rng.normal(size=shape[::-1] if theirs.endswith("weight") else shape).astype(np.float32)
    np.savez(tmp_path / "encoder.npz", **state)
    assert command(tmp_path / "encoder.npz", "--out", tmp_path / "weights")[0] == 0
    path = tmp_path / "weights" / "text_encoder.weights.h5"
    assert weights.read_config(path) == config
    made = weights.named_variables(weights.load(path))
    np.testing.assert_array_equal(made["conv2/kernel"], state["conv2.weight"].transpose(2, 1, 0))
    np.testing.assert_array_equal(made["recurrence/state_recurrent_kernel"], state["rnn.h2h.weight"].T)
    np.testing.assert_array_equal(made["project/bias"], state["emb_proj.bias"])
    if form == "birds":
        np.testing.assert_array_equal(made["recurrence/reset_input_kernel"], state["rnn.i2h_reset.weight"].T)
        np.testing.assert_array_equal(made["recurrence/update_recurrent_bias"], state["rnn.h2h_update.bias"])


def test_text_encoders_of_torch_7(tmp_path, command, refused):
    pytest.importorskip("torchfile", reason="reading .t7 files needs torchfile")
    made = test_torch7.Encoder("birds")
    file = test_torch7.write(tmp_path / "encoder.t7", {"protos": {"enc_doc": made.network}})
    assert command(file, "--out", tmp_path / "weights")[0] == 0
    variables = weights.named_variables(weights.load(tmp_path / "weights" / "text_encoder.weights.h5"))
    np.testing.assert_array_equal(variables["conv3/kernel"], made.state["conv3.weight"].transpose(2, 1, 0))
    np.testing.assert_array_equal(variables["recurrence/reset_recurrent_kernel"], made.state["rnn.h2h_reset.weight"].T)
    out = tmp_path / "none"
    flat = np.ones(4, np.float32)
    captions = {"raw_txt": {1: "a bird"}, "fea_txt": {1: test_torch7.Tensor(flat, 0, (4,))}}
    assert "generate --embedded" in refused(test_torch7.write(tmp_path / "captions.t7", captions), "--out", out)
    assert "holds no text encoder" in refused(test_torch7.write(tmp_path / "other.t7", {"a": 1}), "--out", out)


# -- several networks in one file ---------------------------------------------------------------------------------


def save_npz(path, groups):
    np.savez(path, **{f"{group}/{name}": value for group, state in groups.items() for name, value in state.items()})
    return path


@pytest.mark.parametrize("ending", ["pth", "t7"])
def test_typed_and_embedded_sentences_become_images_of_published_weights(ending, torch, shared, tmp_path, command):
    """The published bird model and text encoder, as small as the golden files are, from files to images."""
    golden, folder = shared / "golden", tmp_path / "weights/birds"
    encoder = golden / "text_small/birds_icml.pth"
    if ending == "t7":
        state = {name: value.numpy() for name, value in torch.load(encoder, weights_only=True).items()}
        encoder = test_torch7.write(tmp_path / "net.t7", test_torch7.Encoder("birds", state=state).network)
    for file in (golden / "tf_release_small/birds_model_3.ckpt", encoder):
        code, _, errors = command(file, "--out", folder)
        assert (code, errors) == (0, "")

    def drawn(embedding):  # by the network that test_golden.py has compared with the release
        generator = weights.load(folder / "stage2_gen.weights.h5")
        zeros = {name: np.zeros((1, *value.shape[1:]), np.float32) for name, value in generator.input.items()}
        return images.to_uint8(generator(zeros | {"embedding": embedding[None]}, training=False)["image"])[0]

    sentences = ["this bird is red with black wings", "a small yellow bird"]
    network, _ = conversion.convert(checkpoints.read(golden / "text_small/birds_icml.pth"))
    still = {"epsilon_scale": 0, "noise_scale": 0}
    made = StackGAN.load(folder).generate(sentences, 1, **still)["image"]
    for image, embedding in zip(made[:, 0], text_encoder.embed(network, sentences), strict=True):
        assert np.abs(image.astype(int) - drawn(embedding)).max() <= 1  # grey levels
    assert not np.array_equal(made[0], made[1])

    file = golden / "caption_embedding_t7/example_captions.t7"
    _, embeddings = embedded_sentences.read(file)
    (made,) = StackGAN.load(folder, embedded=True).generate(embeddings, 1, **still)["image"]
    assert np.abs(made[0].astype(int) - drawn(embeddings[0])).max() <= 1


def test_several_networks_are_named_by_what_they_are(tmp_path, command):
    names = {"stage1_gen": "netG", "stage1_dis": "netD", "stage2_gen": "best/netG2", "stage2_dis": "D2"}
    file = save_npz(tmp_path / "all.npz", {names[n]: tiny(n) for n in NETWORKS} | {"optimizer": {"step": np.ones(3)}})
    code, output, errors = command(file, "--out", tmp_path / "weights")
    assert (code, errors) == (0, "")
    assert sorted(p.name for p in (tmp_path / "weights").iterdir()) == sorted(f"{n}.weights.h5" for n in NETWORKS)
    for network in NETWORKS:
        assert weights.read_config(tmp_path / "weights" / f"{network}.weights.h5") == TINY_CONFIGS[network]
        assert f"{network}.weights.h5: {names[network]} is a {TINY_CONFIGS[network].network}" in output
    assert "left out, as it belongs to no network: optimizer/step\n" in output


def test_the_same_network_twice_keeps_its_names_in_the_file(tmp_path, command):
    groups = {n: tiny(n) for n in ("stage1_gen", "stage1_gen_after_2_steps", "stage1_dis")}
    file = save_npz(tmp_path / "all.npz", groups)
    assert command(file, "--out", tmp_path / "weights")[0] == 0
    assert sorted(p.name for p in (tmp_path / "weights").iterdir()) == [f"{n}.weights.h5" for n in sorted(groups)]
    first, second = (weights.load(tmp_path / "weights" / f"{n}.weights.h5") for n in list(groups)[:2])
    name = "project_dense/kernel"
    assert not np.array_equal(weights.named_variables(first)[name], weights.named_variables(second)[name])


def test_a_torch_file_of_several_state_dicts(torch, tmp_path, command):
    states = {n: {k: torch.tensor(v) for k, v in tiny(n).items()} for n in ("stage1_gen", "stage1_dis")}
    content = {"netG": states["stage1_gen"], "netD": states["stage1_dis"], "epoch": 7, "losses": torch.ones(3)}
    torch.save(content, tmp_path / "all.pth")
    code, output, _ = command(tmp_path / "all.pth", "--out", tmp_path)
    assert code == 0
    assert {p.name for p in tmp_path.glob("*.h5")} == {"stage1_gen.weights.h5", "stage1_dis.weights.h5"}
    assert "left out, as it belongs to no network: losses\n" in output


def test_several_networks_do_not_fit_into_one_file(tmp_path, refused):
    sentence = refused(TINY, "--out", tmp_path / "x.weights.h5")
    assert "holds 8 networks (stage1_dis, " in sentence
    assert sentence.endswith("give --out a folder for them")
    assert not list(tmp_path.iterdir())


def test_names_that_would_overwrite_each_other(tmp_path, refused):
    file = save_npz(tmp_path / "all.npz", {"a/b": tiny("stage1_dis"), "a_b": tiny("stage1_dis")})
    assert "a/b, a_b would get the same file name" in refused(file, "--out", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_one_bad_network_leaves_no_file(tmp_path, refused):
    broken = tiny("stage2_dis")
    del broken["encode_img.3.bias"]
    file = save_npz(tmp_path / "all.npz", {"netG": tiny("stage1_gen"), "netD": broken})
    assert "encode_img.3.bias is missing" in refused(file, "--out", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


# -- networks that do not fit -------------------------------------------------------------------------------------


def _missing(state):
    del state["fc.1.bias"]
    del state["upsample3.2.running_mean"]


def _missing_block(state):
    for name in [name for name in state if name.startswith("upsample3.")]:
        del state[name]


def _left_over(state):
    state["upsample2.1.bias"] = np.zeros(8)


def _misshaped(state):
    state["fc.1.weight"] = np.zeros(5)
    state["img.0.weight"] = np.zeros((3, 2))
    state["upsample1.1.weight"] = np.zeros((32, 16, 3, 3))


def _flat_text(state):
    state["ca_net.fc.weight"] = np.zeros(5)


def _no_text(state):
    del state["ca_net.fc.weight"]


def _too_little_noise(state):
    state["fc.0.weight"] = state["fc.0.weight"][:, :3]


def _too_narrow(state):
    state["fc.0.weight"] = state["fc.0.weight"][:64]


def _numbered(state):
    state["upsample99999999999.1.weight"] = np.zeros((4, 4, 3, 3))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_missing, ["2 names of the", "fc.1.bias is missing; upsample3.2.running_mean is missing"]),
        (_missing_block, ["5 names of the", "upsample3.1.weight is missing"]),
        (_left_over, ["1 names of the", "upsample2.1.bias is left over"]),
        (
            _misshaped,
            [
                "3 names of the",
                "fc.1.weight is (5,), which does not give (512,) as project_norm/gamma",
                "img.0.weight is (3, 2), which does not give (3, 3, 2, 3) as image_conv/kernel",
                "upsample1.1.weight is (32, 16, 3, 3), which does not give (3, 3, 32, 16) as up1_conv/kernel",
            ],
        ),
        (_flat_text, ["sizes of the", "cannot be told"]),
        (_no_text, ["cannot be told", "ca_net.fc.weight is missing"]),
        (_too_little_noise, ["'noise_dim': -5", "impossible"]),
        (_too_narrow, ["'filters': 0", "impossible"]),
        (_numbered, ["cannot be told (its layers are numbered up to 99999999999)"]),
    ],
)
def test_names_and_shapes_that_do_not_fit_are_listed(spoil, expected, tmp_path, refused):
    state = tiny("stage1_gen")
    spoil(state)
    np.savez(tmp_path / "net.npz", **state)
    sentence = refused(tmp_path / "net.npz", "--out", tmp_path / "x.weights.h5")
    assert "stage1_generator" in sentence
    for part in expected:
        assert part in sentence
    assert not (tmp_path / "x.weights.h5").exists()


def test_arrays_without_numbers_ask_for_no_memory(tmp_path, refused):
    state = tiny("stage1_dis")
    state["encode_img.0.weight"] = np.zeros((10**9, 0, 4, 4))
    state["get_cond_logits.outlogits.0.weight"] = np.zeros((0, 10**10, 3, 3))
    np.savez(tmp_path / "net.npz", **state)
    sentence = refused(tmp_path / "net.npz", "--out", tmp_path / "x.weights.h5")
    assert "impossible (it is larger than the file)" in sentence


# -- StackGAN++ and AttnGAN ---------------------------------------------------------------------------------------

V2_TEXT = {"text_dim": 16, "condition_dim": 5, "noise_dim": 6}
BRANCHES = {"image_size": 256, "first_size": 64, "residual_blocks": 2}
FAMILY = {  # what the golden files hold: the file, the network in it, and what it is
    "stackgan_v2": ("stackgan_v2_tiny", "gen", "stackgan_v2_generator", {"filters": 8, **BRANCHES, **V2_TEXT}),
    "stackgan_v2_dis": ("stackgan_v2_dis64_tiny", "dis64", "discriminator", {"condition_dim": 5}),
    "attngan": ("attngan_tiny", "gen", "attngan_generator", {"filters": 6, **BRANCHES, **V2_TEXT, "text_dim": 8}),
    "attngan_dis": ("attngan_tiny", "dis64", "discriminator", {"text": "embedding", "text_dim": 8}),
    "word_encoder": ("attngan_tiny", "text", "word_encoder", {"vocabulary": 24, "word_dim": 300, "text_dim": 8}),
}
DISCRIMINATOR = {"image_size": 64, "filters": 3, "logits": ["conditional", "unconditional"]}
MORE = {
    "stackgan_v2": {"conditional": True},
    "stackgan_v2_dis": {**DISCRIMINATOR, "family": "stackgan_v2"},
    "attngan": {"final_image_only": False, "mask_order": "as_released"},
    "attngan_dis": {**DISCRIMINATOR, "family": "attngan"},
    "word_encoder": {},
}


def of_family(name):
    """One network's tensors by their names in the release."""
    file, prefix, *_ = FAMILY[name]
    with np.load(TINY.parent / f"{file}.npz") as arrays:
        return {n.removeprefix(f"{prefix}/"): arrays[n] for n in arrays.files if n.startswith(f"{prefix}/")}


@pytest.mark.parametrize("form", ["pth", "npz"])
@pytest.mark.parametrize("name", FAMILY)
def test_released_networks_of_the_family(name, form, tmp_path, command, request):
    """As released: StackGAN++'s are saved by a DataParallel, AttnGAN's are not."""
    state, file = of_family(name), tmp_path / f"net.{form}"
    saved = {f"module.{n}": x for n, x in state.items()} if name.startswith("stackgan_v2") else state
    if form == "pth":
        torch = request.getfixturevalue("torch")
        torch.save({n: torch.from_numpy(x) for n, x in saved.items()}, file)
    else:
        np.savez(file, **saved)
    out = tmp_path / "net.weights.h5"
    code, _, errors = command(file, "--out", out)
    assert (code, errors) == (0, "")
    _, _, network, keywords = FAMILY[name]
    assert weights.read_config(out) == weights.ModelConfig(network, {**keywords, **MORE[name]})
    expected = weights.named_variables(conversion.convert(state)[0])
    for path, variable in weights.named_variables(weights.load(out)).items():
        assert np.array_equal(variable, expected[path]), path
    assert sum(np.size(x) for x in state.values()) == sum(np.size(x) for x in expected.values())


def test_networks_of_the_family_are_named_by_what_they_are(tmp_path, command):
    file = save_npz(tmp_path / "all.npz", {name: of_family(name) for name in FAMILY})
    assert command(file, "--out", tmp_path)[0] == 0
    assert sorted(path.name for path in tmp_path.glob("*.h5")) == [
        "attngan_dis_64.weights.h5",
        "attngan_gen.weights.h5",
        "stackgan_v2_dis_64.weights.h5",
        "stackgan_v2_gen.weights.h5",
        "text_encoder.weights.h5",
    ]


BARE = {"image_size": 32, "first_size": 8, "filters": 8, "noise_dim": 4}
SIZES = {**BARE, "text_dim": 3, "condition_dim": 2}
OTHERS = [  # networks that no golden file holds
    ("stackgan_v2_generator", {**SIZES, "residual_blocks": 1, "conditional": True}),
    ("stackgan_v2_generator", {**SIZES, "image_size": 64, "residual_blocks": 2, "conditional": True}),
    ("stackgan_v2_generator", {**SIZES, "image_size": 8, "residual_blocks": 0, "conditional": True}),
    (
        "stackgan_v2_generator",
        {**BARE, "residual_blocks": 1, "conditional": False},
    ),
    (
        "attngan_generator",
        {**SIZES, "residual_blocks": 0, "final_image_only": True, "mask_order": "as_released"},
    ),
    *(
        ("discriminator", {"image_size": size, "filters": 1, "logits": logits, **text})
        for size in (64, 128, 256, 512)
        for logits, text in (
            (["conditional", "unconditional"], {"condition_dim": 5, "family": "stackgan_v2"}),
            (["unconditional"], {"family": "stackgan_v2"}),
            (["conditional"], {"text": "embedding", "text_dim": 5, "family": "attngan"}),
        )
    ),
]


@pytest.mark.parametrize(("network", "keywords"), OTHERS)
def test_other_networks_of_the_family_are_recognized(network, keywords):
    config = weights.ModelConfig(network, keywords)
    variables, rng, state = weights.named_variables(config.build()), np.random.default_rng(0), {}
    (kind,) = (
        kind
        for kind in conversion.KINDS
        if kind.network == network
        and kind.sizes.__module__.endswith(f"{keywords.get('family', network[:-10])}_release")
    )
    for theirs, (path, order) in kind.tensors(keywords).items():
        state[theirs] = rng.normal(size=theirs_of(variables[path].shape, order)).astype(np.float32)
        variables[path].assign(conversion.arranged(state[theirs], order))
    converted, found = conversion.convert(state)
    assert found == config
    for path, value in weights.named_variables(converted).items():
        np.testing.assert_array_equal(value, variables[path], err_msg=path)


def theirs_of(shape, order):
    """The shape in the release of what has this one here."""
    if not isinstance(order, str):  # a dense layer, or values of a map
        return (shape[1], shape[0], *([1, 1] if "one_pixel" in order.__name__ else [])) if len(shape) == 2 else shape
    theirs, ours = order.split("->")
    return tuple(shape[ours.index(axis)] for axis in theirs)


def _without(name):
    return lambda state: state.pop(name)


def _with(name, *shape):
    return lambda state: state.update({name: np.ones(shape, np.float32)})


@pytest.mark.parametrize(
    ("name", "spoil", "expected"),
    [
        ("stackgan_v2", _without("h_net3.upsample.2.running_var"), "h_net3.upsample.2.running_var is missing"),
        ("stackgan_v2", _without("h_net1.fc.0.weight"), "cannot be told (h_net1.fc.0.weight is missing)"),
        ("stackgan_v2", _with("h_net4.jointConv.0.weight", 4, 9, 3, 3), "h_net4.jointConv.1.weight is missing"),
        ("stackgan_v2", _with("img_net2.img.0.bias", 3), "img_net2.img.0.bias is left over"),
        ("stackgan_v2", _with("ca_net.fc.weight", 18, 16), "ca_net.fc.bias is (20,), which does not give (16,)"),
        ("stackgan_v2", _with("h_net1.fc.0.weight", 8, 11), "'filters': 0"),
        ("stackgan_v2_dis", _without("uncond_logits.0.bias"), "uncond_logits.0.bias is missing"),
        ("stackgan_v2_dis", _with("img_code_s32.0.weight", 48, 24, 4, 4), "img_code_s32_1.0.weight is missing"),
        ("attngan", _with("h_net2.att.conv_context.weight", 6, 8, 3, 3), "conv_context.weight is (6, 8, 3, 3), which"),
        ("attngan", _without("img_net1.img.0.weight"), "img_net1.img.0.weight is missing"),
        ("attngan_dis", _without("COND_DNET.jointConv.0.weight"), "COND_DNET.jointConv.0.weight is missing"),
        ("word_encoder", _with("rnn.weight_hh_l0", 12, 4), "rnn.weight_hh_l0 is (12, 4), which does not give (4, 16)"),
        ("word_encoder", _without("rnn.bias_hh_l0_reverse"), "rnn.bias_hh_l0_reverse is missing"),
        ("word_encoder", _with("rnn.weight_ih_l1", 16, 8), "rnn.weight_ih_l1 is left over"),
    ],
)
def test_networks_of_the_family_that_do_not_fit(name, spoil, expected, tmp_path, refused):
    state = of_family(name)
    spoil(state)
    np.savez(tmp_path / "net.npz", **state)
    sentence = refused(tmp_path / "net.npz", "--out", tmp_path / "x.weights.h5")
    assert expected in sentence and FAMILY[name][2] in sentence
    assert not (tmp_path / "x.weights.h5").exists()


# -- files that hold no network -----------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    """Writes content under a name and returns the path."""

    def write(name, content=b""):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def test_somebody_elses_arrays(tmp_path, refused):
    np.savez(tmp_path / "net.npz", conv1=np.zeros(3), conv2=np.zeros(3))
    sentence = refused(tmp_path / "net.npz", "--out", tmp_path / "x.weights.h5")
    assert "holds conv1, conv2: this is no network of StackGAN's releases" in sentence


@pytest.mark.parametrize("content", [b"", b"no zip file", TINY.read_bytes()[:5000]])
def test_broken_npz(content, file, tmp_path, refused):
    path = file("net.npz", content)
    assert f"{path} cannot be read as arrays" in refused(path, "--out", tmp_path / "x.weights.h5")


def test_npz_with_objects_damage_or_other_things(file, tmp_path, refused):
    np.savez(tmp_path / "objects.npz", weight=np.array([{"a": 1}], dtype=object))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    damaged = bytearray(TINY.read_bytes())
    damaged[2000:3000] = bytes(1000)
    file("damaged.npz", damaged)
    none = "holds no tensors under names"
    for name, expected in (
        ("objects", "cannot be read"),
        ("damaged", "cannot be read"),
        ("array", none),
        ("text", none),
    ):
        path = tmp_path / f"{name}.npz"
        assert f"{path} {expected}" in refused(path, "--out", tmp_path / "x.weights.h5")


class Bomb:
    """Runs a shell command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("form", ["pickle", "torch", "legacy", "inside a state dict"])
def test_code_in_a_file_is_not_run(form, torch, tmp_path, refused):
    marker, path = tmp_path / "was_run", tmp_path / "net.pth"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Bomb(marker)))
    elif form == "inside a state dict":
        torch.save({"fc.0.weight": torch.ones(3), "extra": Bomb(marker)}, path)
    else:
        torch.save(Bomb(marker), path, _use_new_zipfile_serialization=form == "torch")
    assert "cannot be read safely" in refused(path, "--out", tmp_path / "x.weights.h5")
    assert not marker.exists()


def test_broken_and_foreign_torch_files(torch, shared, file, tmp_path, refused):
    out = tmp_path / "x.weights.h5"
    whole = (shared / "golden/pytorch_small/stage1_gen.pth").read_bytes()
    for name, content in (("half", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello\nworld\n")):
        path = file(f"{name}.pth", content)
        assert f"{path} cannot be read safely as a PyTorch checkpoint" in refused(path, "--out", out)
    torch.save({"conv.weight": torch.ones(3)}, tmp_path / "other.pth")
    assert "holds conv.weight: this is no network" in refused(tmp_path / "other.pth", "--out", out)
    torch.save({"netG.weight": torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (3,))}, tmp_path / "odd.pth")
    assert "this is no network" in refused(tmp_path / "odd.pth", "--out", out)
    for content in ([torch.ones(3)], torch.ones(3), {"epoch": 7}, {}):
        torch.save(content, tmp_path / "other.pth")
        assert "holds no tensors under names" in refused(tmp_path / "other.pth", "--out", out)
    assert not out.exists()


def test_missing_files_and_folders(tmp_path, refused):
    for path in (tmp_path / "absent.pth", tmp_path):
        assert f"there is no file {path}" in refused(path, "--out", tmp_path / "x.weights.h5")


def test_without_torch(file, tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "torch", None)
    sentence = refused(file("net.pth", b"anything"), "--out", tmp_path / "x.weights.h5")
    assert "net.pth cannot be read safely as a PyTorch checkpoint" in sentence
    assert "pip install 'stackgan_keras[torch]'" in sentence


@pytest.mark.parametrize("name", ["x.h5", "x.keras", "x.weights", "net.npz"])
def test_out_must_be_a_weight_file_or_a_folder(name, tmp_path, refused):
    np.savez(tmp_path / "net.npz", **tiny("stage1_dis"))
    before = (tmp_path / "net.npz").read_bytes()
    assert f"--out is {tmp_path / name}: give FILE.weights.h5" in refused(
        tmp_path / "net.npz", "--out", tmp_path / name
    )
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]
    assert (tmp_path / "net.npz").read_bytes() == before


def test_out_below_a_file(tmp_path, refused):
    np.savez(tmp_path / "net.npz", **tiny("stage1_dis"))
    sentence = refused(tmp_path / "net.npz", "--out", tmp_path / "net.npz" / "x.weights.h5")
    assert "x.weights.h5 could not be written" in sentence and f"File exists: '{tmp_path / 'net.npz'}'" in sentence


def test_arguments(refused):
    assert "required: file, --out" in refused()
    assert "unrecognized arguments: --stage 2" in refused("a.pth", "--out", "b.weights.h5", "--stage", "2")


def test_convert_in_python_raises_too():
    with pytest.raises(InputError, match="holds nothing"):
        conversion.recognize({})
