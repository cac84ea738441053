"""Torch-7 files: sentences embedded in them, and char-CNN-RNNs with the tensors' names of their PyTorch port."""

import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from stackgan_keras.errors import InputError, first_line

MOST_DIMENSIONS = 8  # of a tensor that is believed to be one
DTYPES = {"Byte": "u1", "Char": "i1", "Short": "i2", "Int": "i4", "Long": "i8", "Float": "f4", "Double": "f8"}
DTYPES |= {f"Cuda{kind}": dtype for kind, dtype in DTYPES.items()} | {"Cuda": "f4"}


def read(path: Path):
    """What `torch.save` of Torch 7 wrote: tables are dicts with keys of bytes or numbers, tensors are arrays.

    Nothing in the file is executed, and no tensor reaches beyond what the file holds. Raises `InputError` for a missing
    or broken file, and where the package `torchfile`, which reads the format, is not installed.
    """
    try:
        import torchfile
    except ImportError:
        raise InputError(
            f"{path.name} is a Torch-7 file and torchfile is not installed: pip install 'stackgan_keras[torch7]'"
        ) from None
    if not path.is_file():
        raise InputError(f"there is no file {path}: give the path of a .t7 file")
    try:
        with path.open("rb") as file, _checked_tensors(torchfile.type_handlers):
            return torchfile.T7Reader(file, use_list_heuristic=False).read_obj()
    except Exception as problem:  # struct, numpy and torchfile raise a dozen kinds for files that are broken or foreign
        reason = first_line(problem)
        raise InputError(
            f"{path} cannot be read as a Torch-7 file ({reason}): give a whole one, in the binary form"
        ) from None


def embedded(content) -> tuple[list[str], np.ndarray] | None:
    """The sentences and their embeddings (N, text_dim) float32 in what the old tools wrote; None if it is not that.

    Raises `InputError` if there are not as many of the one as of the other.
    """
    sentences, embeddings = _field(content, "raw_txt"), _field(content, "fea_txt")
    if sentences is None or embeddings is None:
        return None
    sentences = [sentence.decode("utf-8", "replace") for sentence in _listed(sentences) if isinstance(sentence, bytes)]
    rows = embeddings if isinstance(embeddings, np.ndarray) else _listed(embeddings)
    rows = [np.ravel(row) for row in rows if isinstance(row, (np.ndarray, np.number))]
    lengths = sorted({len(row) for row in rows})
    if len(rows) != len(sentences) or len(lengths) != 1:
        raise InputError(
            f"raw_txt holds {len(sentences)} sentences and fea_txt {len(rows)} embeddings of {lengths} numbers: "
            "there must be one for each sentence, all of one length"
        )
    return sentences, np.array(rows, np.float32)


def encoder(content) -> dict[str, np.ndarray] | None:
    """The tensors of a char-CNN-RNN by their names in its PyTorch port; None if the file holds no such network.

    Torch 7 keeps no names, but the graph of the network, in which each layer is known by what it follows and what it
    leads to. Source of the graphs: the modules HybridCNN, HybridCNNLong, FixedRNN and FixedGRU of Reed et al. Raises
    `InputError` if it is a graph of something else, or of a recurrence whose last state is taken in place of the mean.
    """
    protos = _field(content, "protos")
    network = content if protos is None else _field(protos, "enc_doc")
    if _kind(network) != "gModule":
        return None
    modules = [_module(node) for node in _nodes(network)]
    layers = [layer for module in modules for layer in _layers(module)]
    convolutions = [layer for layer in layers if _kind(layer) == "TemporalConvolution"]
    recurrences = [module for module in modules if _kind(module) == "gModule"]
    projections = [module for module in modules if _kind(module) == "Linear"]
    if (len(convolutions), len(recurrences), len(projections)) != (3, 1, 1):
        raise InputError(
            f"the network has {len(convolutions)} convolutions over time, {len(recurrences)} recurrences and "
            f"{len(projections)} projections, where a char-CNN-RNN has 3, 1 and 1: give the file of a text encoder"
        )
    state = {}
    for i, convolution in enumerate(convolutions, start=1):
        weight, bias = _weights(convolution)
        if weight.ndim != 2 or weight.shape[1] % 4:
            raise InputError(f"a convolution over time has weights {weight.shape}: its kernels must be 4 wide")
        # from (filters, width * channels) to (filters, channels, width)
        state[f"conv{i}.weight"], state[f"conv{i}.bias"] = weight.reshape(len(bias), 4, -1).transpose(0, 2, 1), bias
    try:
        state |= _recurrence(_nodes(recurrences[0]))
    except (IndexError, KeyError):  # a layer that leads nowhere, or into what is not in the list of nodes
        raise InputError("the graph of the recurrence is broken: give a whole file") from None
    state["emb_proj.weight"], state["emb_proj.bias"] = _weights(projections[0])
    return state


def _recurrence(nodes: list) -> dict[str, np.ndarray]:
    """The weights of a recurrence, which its steps share, by their names in the PyTorch port."""
    scales = [_field(_module(node), "constant_scalar") for node in nodes if _kind(_module(node)) == "MulConstant"]
    if not any(isinstance(scale, float) and 0 < scale < 1 for scale in scales):
        raise InputError("the recurrence gives its last state, not the mean of all: only encoders with the mean fit")
    children = {id(node): _listed(_field(node, "children")) for node in nodes}
    inner = [node for node in nodes if _kind(_module(node)) not in ("Identity", None)]  # all but the inputs
    of_state = {id(child) for node in inner for child in children[id(node)]}
    linears = [(node, layer) for node in nodes for layer in _layers(_module(node)) if _kind(layer) == "Linear"]
    state: dict[str, np.ndarray] = {}
    for node, linear in linears:
        activation = children[id(node)][0]
        if _kind(_module(activation)) == "CAddTable":
            activation = children[id(activation)][0]
        gate = ""
        if _kind(_module(activation)) == "Sigmoid":  # that of the update also gives what is kept, 1 - update
            kept = any(_kind(_module(child)) == "MulConstant" for child in children[id(activation)])
            gate = "_update" if kept else "_reset"
        name = f"rnn.{'h2h' if id(node) in of_state else 'i2h'}{gate}"
        for part, values in zip(("weight", "bias"), _weights(linear), strict=True):
            if not np.array_equal(state.setdefault(f"{name}.{part}", values), values):
                raise InputError(f"the steps of the recurrence do not share {name}.{part}: this is no char-CNN-RNN")
    return state


# -- objects of Torch 7 -------------------------------------------------------------------------------------------


def _kind(thing) -> str | None:
    """The last part of a class's name, `Linear` of `nn.Linear` and of `cudnn.Linear`; None if it is no object."""
    name = getattr(thing, "_typename", None) if type(thing).__name__ == "TorchObject" else None
    return name.decode("latin-1").rpartition(".")[2] if isinstance(name, bytes) else None


def _field(thing, name: str):
    """The value under a name in a table or an object; None if there is none."""
    table = thing._obj if type(thing).__name__ == "TorchObject" else thing
    return table.get(name.encode()) if isinstance(table, dict) else None


def _listed(table) -> list:
    """What a table holds under 1, 2, and so on."""
    found = []
    while isinstance(table, dict) and len(found) + 1 in table:
        found.append(table[len(found) + 1])
    return found


def _nodes(network) -> list:
    return _listed(_field(network, "forwardnodes"))


def _module(node):
    return _field(_field(node, "data"), "module")


def _layers(module) -> list:
    """The layers of a sequence, or the layer itself."""
    return _listed(_field(module, "modules")) if _kind(module) == "Sequential" else [module]


def _weights(module) -> tuple[np.ndarray, np.ndarray]:
    found = [_field(module, name) for name in ("weight", "bias")]
    if not all(isinstance(values, np.ndarray) and values.dtype.kind == "f" for values in found):
        raise InputError(f"a {_kind(module)} of the network lacks its weight or its bias: give a whole file")
    return tuple(np.array(values, np.float32) for values in found)


# -- tensors, checked ---------------------------------------------------------------------------------------------


@contextmanager
def _checked_tensors(handlers: dict):
    """Has torchfile check what a file says of its tensors, which it takes on trust: they may reach beyond the file."""
    before = dict(handlers)
    for kind, dtype in DTYPES.items():
        handlers[f"torch.{kind}Storage".encode()] = partial(_storage, dtype=np.dtype(dtype))
        handlers[f"torch.{kind}Tensor".encode()] = partial(_tensor, dtype=np.dtype(dtype))
    try:
        yield
    finally:
        handlers.clear()
        handlers.update(before)


def _storage(reader, _version, *, dtype: np.dtype) -> np.ndarray:
    count = reader.read_long()
    left = os.fstat(reader.f.fileno()).st_size - reader.f.tell()
    if not 0 <= count * dtype.itemsize <= left:
        raise ValueError(f"{count} numbers where {left} bytes are left")
    return np.fromfile(reader.f, dtype, count)


def _tensor(reader, _version, *, dtype: np.dtype) -> np.ndarray:
    dimensions = reader.read_int()
    if not 0 <= dimensions <= MOST_DIMENSIONS:
        raise ValueError(f"a tensor of {dimensions} dimensions")
    size, stride = reader.read_long_array(dimensions), reader.read_long_array(dimensions)
    first = reader.read_long() - 1
    storage = reader.read_obj()
    if storage is None or not size or 0 in size:
        return np.empty(0, dtype)
    if not isinstance(storage, np.ndarray) or storage.ndim != 1:
        raise ValueError("a tensor without its numbers")
    last = first + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    numbers = np.prod(size, dtype=float)  # no fewer than these, as steps of 0 would make a small file a large array
    if min(*size, *stride, first) < 0 or max(last + 1, numbers) > len(storage):
        raise ValueError(f"a tensor {tuple(size)} beyond the {len(storage)} numbers that it is made of")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[first:], size, strides, writeable=False)
