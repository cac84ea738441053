"""Tests of Torch-7 files: networks and embeddings are read whole, and nothing else is believed."""

import struct
import sys

import numpy as np
import pytest
from helpers import refusal

from stackgan_keras import text_encoder, weights
from stackgan_keras.porting import conversion, embedded_sentences, torch7

# -- writing such files -------------------------------------------------------------------------------------------


class Object:
    """An object of a class of Torch 7."""

    def __init__(self, kind, **fields):
        self.kind, self.fields = kind, fields


class Tensor:
    """A part of a flat array that several tensors may share."""

    def __init__(self, storage, first, shape, kind="Float"):
        self.storage, self.first, self.shape, self.kind = storage, first, shape, kind


class Writer:
    """The binary format of `torch.save`: a number that says the kind, then the thing, objects once."""

    def __init__(self):
        self.parts, self.known = [], {}

    def add(self, thing):
        if thing is None:
            self.ints(0)
        elif isinstance(thing, bool):
            self.ints(5, int(thing))
        elif isinstance(thing, (int, float)):
            self.ints(1)
            self.parts.append(struct.pack("<d", thing))
        elif isinstance(thing, str):
            self.ints(2)
            self.string(thing)
        elif isinstance(thing, dict):
            if self.first_time(3, thing):
                self.ints(len(thing))
                for key, value in thing.items():
                    self.add(key)
                    self.add(value)
        elif isinstance(thing, Object):
            if self.first_time(4, thing, thing.kind):
                self.add(thing.fields)
        elif isinstance(thing, Tensor):
            if self.first_time(4, thing, f"torch.{thing.kind}Tensor"):
                strides = np.cumprod([1, *thing.shape[:0:-1]])[::-1] if thing.shape else []
                self.ints(len(thing.shape))
                self.longs(*thing.shape, *strides, thing.first + 1)
                if self.first_time(4, thing.storage, f"torch.{thing.kind}Storage"):
                    self.longs(len(thing.storage))
                    self.parts.append(thing.storage.tobytes())
        else:
            raise TypeError(thing)
        return self

    def first_time(self, kind, thing, name=None):
        new = id(thing) not in self.known
        self.known.setdefault(id(thing), (len(self.known) + 1, thing))
        self.ints(kind, self.known[id(thing)][0])
        if new and name:
            self.string("V 1")
            self.string(name)
        return new

    def ints(self, *values):
        self.parts.append(struct.pack(f"<{len(values)}i", *values))

    def longs(self, *values):
        self.parts.append(struct.pack(f"<{len(values)}q", *values))

    def string(self, text):
        self.ints(len(text.encode()))
        self.parts.append(text.encode())


def table(*values):
    return dict(enumerate(values, start=1))


def write(path, thing):
    path.write_bytes(b"".join(Writer().add(thing).parts))
    return path


class Graph:
    """A network as nngraph keeps it: nodes that know who takes what they give."""

    def __init__(self):
        self.nodes = []

    def add(self, module, *given):
        node = Object("nngraph.Node", children={}, data={"module": module} if module else {})
        for parent in given:
            children = parent.fields["children"]
            children[len(children) // 2 + 1] = node
            children[node] = len(children) // 2 + 1  # and each child leads to its place
        self.nodes.append(node)
        return node

    def module(self, seed=0):
        order = np.random.default_rng(seed).permutation(len(self.nodes))
        return Object("nn.gModule", forwardnodes=table(*(self.nodes[i] for i in order)), train=False)


SIZES = {"filters": 6, "recurrent_dim": 5, "text_dim": 4}


class Encoder:
    """A text encoder of Reed's and its tensors by their names in the PyTorch port: small random ones, or a `state`."""

    def __init__(self, form, kind="Float", mean=True, state=None):
        self.kind, self.steps = kind, {"birds": 18, "flowers": 8}[form]
        self.state = state or self._random(form)
        arranged = {n: v.transpose(0, 2, 1) if v.ndim == 3 else v for n, v in self.state.items()}
        self.flat = np.concatenate([v.ravel() for v in arranged.values()]).astype({"Double": "f8"}.get(kind, "f4"))
        firsts = np.cumsum([0, *(v.size for v in arranged.values())])
        self.views = dict(zip(arranged, zip(firsts.tolist(), arranged.values(), strict=False), strict=True))
        self.recurrence = (self._gated if form == "birds" else self._plain)(mean)
        self.network = self._network(form)

    @staticmethod
    def _random(form):
        gates = ("_update", "_reset", "") if form == "birds" else ("",)
        shapes = {"conv1": (6, 70, 4), "conv2": (8, 6, 4), "conv3": (5, 8, 4), "emb_proj": (4, 5)}
        shapes |= {f"rnn.{source}{gate}": (5, 5) for source in ("i2h", "h2h") for gate in gates}
        rng, state = np.random.default_rng(0), {}
        for name, shape in shapes.items():
            state[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32)
            state[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
        return state

    def tensor(self, name):
        first, value = self.views[name]
        flat = (len(value), value[0].size) if value.ndim > 1 else value.shape
        return Tensor(self.flat, first, flat, self.kind)

    def layer(self, kind, name):
        return Object(kind, weight=self.tensor(f"{name}.weight"), bias=self.tensor(f"{name}.bias"))

    def linear(self, name):
        return Object("nn.Sequential", modules=table(self.layer("nn.Linear", f"rnn.{name}")))

    def _network(self, form):
        graph = Graph()
        layers = []
        for i in (1, 2, 3):
            layers += [self.layer("nn.TemporalConvolution", f"conv{i}"), Object("nn.Threshold", threshold=1e-6, val=0)]
            if i < 3 or form == "flowers":
                layers.append(Object("nn.TemporalMaxPooling", kW=3, dW=3 if i < 3 else 2))
        given = graph.add(Object("nn.Identity"), graph.add(None))
        x = graph.add(Object("nn.Sequential", modules=table(*layers)), given)
        x = graph.add(Object("nn.SplitTable", dimension=2), x)
        x = graph.add(self.recurrence.module(seed=1), x)
        x = graph.add(Object("nn.Dropout", p=0), x)
        graph.add(None, graph.add(self.layer("nn.Linear", "emb_proj"), x))
        return graph.module(seed=2)

    def _gated(self, mean):
        graph = Graph()
        first = graph.add(None)
        inputs = [graph.add(Object("nn.Identity"), first) for _ in range(self.steps)]
        states = [graph.add(Object("nn.Tanh"), graph.add(self.linear("i2h"), inputs[0]))]
        for given in inputs[1:]:
            old = states[-1]

            def sum_of(gate, given, old):
                parts = graph.add(self.linear(f"i2h{gate}"), given), graph.add(self.linear(f"h2h{gate}"), old)
                return graph.add(Object("nn.CAddTable"), *parts)

            update = graph.add(Object("nn.Sigmoid"), sum_of("_update", given, old))
            reset = graph.add(Object("nn.Sigmoid"), sum_of("_reset", given, old))
            heard = graph.add(Object("nn.CMulTable"), reset, old)
            candidate = graph.add(Object("nn.Tanh"), sum_of("", given, heard))
            new = graph.add(Object("nn.CMulTable"), update, candidate)
            kept = graph.add(Object("nn.AddConstant", constant_scalar=1), self._scaled(graph, -1, update))
            kept = graph.add(Object("nn.CMulTable"), kept, old)
            states.append(graph.add(Object("nn.CAddTable"), new, kept))
        return self._ended(graph, states, mean)

    def _plain(self, mean):
        graph = Graph()
        first = graph.add(None)
        inputs = [graph.add(Object("nn.Identity"), first) for _ in range(self.steps)]
        states = [graph.add(Object("nn.ReLU"), graph.add(self.linear("i2h"), inputs[0]))]
        for given in inputs[1:]:
            parts = graph.add(self.linear("i2h"), given), graph.add(self.linear("h2h"), states[-1])
            states.append(graph.add(Object("nn.ReLU"), graph.add(Object("nn.CAddTable"), *parts)))
        return self._ended(graph, states, mean)

    def _scaled(self, graph, factor, node):
        return graph.add(Object("nn.MulConstant", constant_scalar=factor), node)

    def _ended(self, graph, states, mean):
        end = states[0]
        if mean:
            for state in states[1:]:
                end = graph.add(Object("nn.CAddTable"), end, state)
            end = self._scaled(graph, 1 / self.steps, end)
        graph.add(None, end if mean else states[-1])
        return graph


@pytest.fixture(autouse=True)
def torchfile():
    return pytest.importorskip("torchfile", reason="reading .t7 files needs torchfile")


# -- text encoders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["birds", "flowers"])
@pytest.mark.parametrize(("kind", "whole"), [("Float", False), ("Cuda", True), ("Double", True)])
def test_a_text_encoder_of_torch_7(form, kind, whole, tmp_path):
    made = Encoder(form, kind)
    content = (
        {"protos": {"enc_doc": made.network, "enc_image": Object("nn.Identity")}, "i": 7} if whole else made.network
    )
    state = torch7.encoder(torch7.read(write(tmp_path / "net.t7", content)))
    assert state.keys() == made.state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(value, made.state[name], err_msg=name)
    model, config = conversion.convert(state)
    assert config == weights.ModelConfig("text_encoder", {"variant": form, **SIZES})
    assert text_encoder.embed(model, ["a red bird"]).shape == (1, 4)


def test_the_last_state_is_not_the_mean(tmp_path):
    for form in ("birds", "flowers"):
        content = torch7.read(write(tmp_path / "net.t7", Encoder(form, mean=False).network))
        assert "the recurrence gives its last state" in refusal(torch7.encoder, content)


def test_steps_that_do_not_share_their_weights(tmp_path):
    made = Encoder("flowers")
    other = Object("nn.Linear", weight=Tensor(np.ones(25, np.float32), 0, (5, 5)), bias=made.tensor("conv3.bias"))
    steps = [
        node
        for node in made.recurrence.nodes
        if getattr(node.fields["data"].get("module"), "kind", "") == "nn.Sequential"
    ]
    steps[-1].fields["data"]["module"].fields["modules"] = table(other)
    content = torch7.read(write(tmp_path / "net.t7", made.network))
    assert "do not share rnn.h2h.weight" in refusal(torch7.encoder, content)


def test_networks_of_another_kind(tmp_path):
    graph = Graph()
    graph.add(Encoder("birds").layer("nn.Linear", "emb_proj"), graph.add(Object("nn.Identity")))
    content = torch7.read(write(tmp_path / "net.t7", graph.module()))
    assert "the network is no whole char-CNN-RNN" in refusal(torch7.encoder, content)
    for other in ({"a": 1}, Object("nn.Sequential", modules={}), 3, None, table("a")):
        assert torch7.encoder(torch7.read(write(tmp_path / "net.t7", other))) is None


def test_a_layer_without_its_weights(tmp_path):
    linear = Object("nn.Linear", weight=None, bias=None)
    made = Encoder("birds")
    node = next(n for n in made.network.fields["forwardnodes"].values() if _is(n, "nn.Linear"))
    node.fields["data"]["module"] = linear
    content = torch7.read(write(tmp_path / "net.t7", made.network))
    assert "a Linear of the network lacks its weight or its bias" in refusal(torch7.encoder, content)


def _is(node, kind):
    module = node.fields["data"].get("module")
    return module is not None and module.kind == kind


# -- embedded sentences -------------------------------------------------------------------------------------------


def test_the_golden_embedding(shared):
    folder = shared / "golden/caption_embedding_t7"
    sentences, embeddings = torch7.embedded(torch7.read(folder / "example_captions.t7"), 10**6)
    assert sentences == (folder / "example_captions.txt").read_text().splitlines()
    np.testing.assert_array_equal(embeddings, np.load(folder / "embedding_1x1024.npy"))


def test_embedded_sentences_however_they_are_kept(tmp_path):
    flat = np.arange(12, dtype=np.float32)
    rows = [Tensor(flat, 4 * i, (1, 4)) for i in range(3)]
    texts = table("one", "two", "drei Vögel")
    for kept in (table(*rows), Tensor(flat, 0, (3, 4))):
        content = torch7.read(write(tmp_path / "a.t7", {"raw_txt": texts, "fea_txt": kept}))
        sentences, embeddings = torch7.embedded(content, 1000)
        assert sentences == ["one", "two", "drei Vögel"]
        np.testing.assert_array_equal(embeddings, flat.reshape(3, 4))
    assert torch7.embedded({b"raw_txt": 1}, 0) is None


FLAT = Tensor(np.arange(6, dtype=np.float32), 0, (3,))


@pytest.mark.parametrize(
    ("texts", "embeddings", "expected"),
    [
        (table("one"), table(FLAT, FLAT), "holds 1 sentences and 2 embeddings"),
        (table("one", "two"), table(FLAT, Tensor(FLAT.storage, 0, (4,))), "cannot be read"),
        (table("one"), table("two"), "cannot be read"),
        (table("one"), table(None), "infinite or none"),
        (table("one"), None, "cannot be read"),
        ("one", table(FLAT), "cannot be read"),
        (table(3), table(FLAT), "cannot be read"),
        (7, table(FLAT), "cannot be read"),
        (Object("nn.Linear"), table(FLAT), "cannot be read"),
        (table("one"), Object("nn.Linear"), "cannot be read"),
        (table("one"), table(Object("nn.Linear")), "cannot be read"),
        (table("one"), table(table(FLAT)), "cannot be read"),
    ],
)
def test_sentences_and_embeddings_that_are_none(texts, embeddings, expected, tmp_path):
    path = write(tmp_path / "a.t7", {"raw_txt": texts, "fea_txt": embeddings})
    sentence = refusal(embedded_sentences.read, path)
    assert sentence.startswith(str(path)) and expected in sentence


# -- files that are not whole, or not what they say ---------------------------------------------------------------


def test_half_a_file_is_refused_wherever_it_ends(tmp_path):
    whole = b"".join(Writer().add(Encoder("flowers").network).parts)
    path = tmp_path / "net.t7"
    for end in [*range(0, 200, 7), *range(200, len(whole), 997)]:
        path.write_bytes(whole[:end])
        assert f"{path} cannot be read as a Torch-7 file" in refusal(torch7.read, path)


def test_damage_is_refused_or_read_but_never_crashes(tmp_path):
    whole = bytearray(b"".join(Writer().add({"raw_txt": table("a"), "fea_txt": Encoder("flowers").network}).parts))
    rng, path = np.random.default_rng(0), tmp_path / "net.t7"
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            content = torch7.read(path)
            torch7.encoder(content[b"fea_txt"] if isinstance(content, dict) and b"fea_txt" in content else content)
        except torch7.InputError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    ("shape", "first", "expected"),
    [
        ((100, 100), 0, "a tensor (100, 100) beyond the 6 numbers"),
        ((2, 3), 1, "a tensor (2, 3) beyond the 6 numbers"),
        ((2, 3), -2, "beyond"),
        ((-2, 3), 0, "beyond"),
        ((2**62, 2), 0, "beyond"),
    ],
)
def test_a_tensor_reaches_no_further_than_its_numbers(shape, first, expected, tmp_path):
    path = write(tmp_path / "a.t7", {"a": Tensor(np.ones(6, np.float32), first, shape)})
    sentence = refusal(torch7.read, path)
    assert expected in sentence and "give a whole one, in the binary form" in sentence


def test_more_numbers_than_bytes_and_deep_nesting(tmp_path):
    path = tmp_path / "a.t7"
    writer = Writer()
    writer.ints(4, 1)
    writer.string("V 1")
    writer.string("torch.FloatStorage")
    writer.longs(2**40)
    path.write_bytes(b"".join(writer.parts))
    assert "cannot be read as a Torch-7 file" in refusal(torch7.read, path)
    path.write_bytes(b"".join(struct.pack("<3i", 3, i, 1) for i in range(1, 100_000)))
    assert "cannot be read as a Torch-7 file" in refusal(torch7.read, path)
    path.write_bytes(b"4\n1\n3\nV 1\n")  # the text form of the format
    assert "in the binary form" in refusal(torch7.read, path)


def test_torchfile_is_left_as_it_was(tmp_path, torchfile):
    before = dict(torchfile.type_handlers)
    torch7.read(write(tmp_path / "a.t7", {}))
    assert torchfile.type_handlers == before


def test_without_torchfile_and_without_a_file(tmp_path, monkeypatch):
    assert f"No such file or directory: '{tmp_path / 'a.t7'}'" in refusal(torch7.read, tmp_path / "a.t7")
    monkeypatch.setitem(sys.modules, "torchfile", None)
    assert "a.t7 needs torchfile to be read: pip install" in refusal(torch7.read, tmp_path / "a.t7")
