"""Torch-7 files: sentences embedded in them, and char-CNN-RNNs with the tensors' names of their PyTorch port."""

from pathlib import Path
from typing import Any

import numpy as np

from stackgan_keras.errors import InputError, first_line

UNEXPECTED = (AttributeError, LookupError, TypeError, ValueError)  # where a table or an object is not as it should be


def read(path: Path) -> Any:
    """What `torch.save` of Torch 7 wrote: tables are dicts with keys of bytes or numbers, tensors are arrays.

    Nothing in the file is executed, and no tensor reaches beyond what the file holds. Raises `InputError` for a missing
    or broken file, and where the package `torchfile`, which reads the format, is not installed.
    """
    try:
        import torchfile
    except ImportError:
        raise InputError(f"{path.name} needs torchfile to be read: pip install 'stackgan_keras[torch7]'") from None
    handlers = torchfile.type_handlers
    checked = {name: _tensor for name in [*handlers, b"torch.CudaLongTensor"] if name.endswith(b"Tensor")}
    torchfile.type_handlers = handlers | checked | {b"torch.CudaLongStorage": handlers[b"torch.LongStorage"]}
    try:
        with path.open("rb") as file:
            return torchfile.T7Reader(file, use_list_heuristic=False).read_obj()
    except Exception as problem:  # struct, numpy and torchfile raise a dozen kinds for files that are broken or foreign
        raise InputError(
            f"{path} cannot be read as a Torch-7 file ({first_line(problem)}): give a whole one, in the binary form"
        ) from None
    finally:
        torchfile.type_handlers = handlers


def _tensor(reader, _version) -> np.ndarray:
    """A tensor as torchfile reads it, which would believe one that reaches beyond its numbers."""
    dimensions = reader.read_int()
    size, stride = reader.read_long_array(dimensions), reader.read_long_array(dimensions)
    first, storage = reader.read_long() - 1, reader.read_obj()
    if storage is None or not size or 0 in size:
        return np.empty(0)
    last = first + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    numbers = np.prod(size, dtype=float)  # no fewer than these, as steps of 0 would make a small file a large array
    if min(*size, *stride, first) < 0 or max(last + 1, numbers) > storage.size:
        raise ValueError(f"a tensor {tuple(size)} beyond the {storage.size} numbers that it is made of")
    strides = [step * storage.itemsize for step in stride]
    return np.ndarray(size, storage.dtype, storage, first * storage.itemsize, strides)


def embedded(content: object, most: int) -> tuple[list[str], np.ndarray] | None:
    """The sentences and the embeddings (N, text_dim) float32 in what the old tools wrote; None if it is not that.

    Raises one of `UNEXPECTED` where they are no strings and no arrays of one length, and where they are views of fewer
    numbers: more than `most`, the bytes of the file.
    """
    if not isinstance(content, dict) or not {b"raw_txt", b"fea_txt"} <= content.keys():
        return None
    rows = content[b"fea_txt"]
    rows = list(rows) if isinstance(rows, np.ndarray) else _listed(rows)
    texts = _listed(content[b"raw_txt"])
    if sum(map(np.size, rows)) + sum(map(len, texts)) > most:
        raise ValueError("more numbers and letters than the file holds")
    return [text.decode("utf-8", "replace") for text in texts], np.array([np.ravel(row) for row in rows], np.float32)


def encoder(content: object) -> dict[str, np.ndarray] | None:
    """The tensors of a char-CNN-RNN by their names in its PyTorch port; None if the file holds no such network.

    Torch 7 keeps no names, but the graph of the network, in which each layer is known by what it follows and what it
    leads to. Source of the graphs: the modules HybridCNN, HybridCNNLong, FixedRNN and FixedGRU of Reed et al. Raises
    `InputError` if it is a graph of something else, or of a recurrence whose last state is taken in place of the mean.
    """
    protos = content.get(b"protos") if isinstance(content, dict) else None
    network = protos.get(b"enc_doc") if isinstance(protos, dict) else content
    if _kind(network) != "gModule":
        return None
    try:
        return _network(network)
    except UNEXPECTED as problem:
        raise InputError(f"the network is no whole char-CNN-RNN ({first_line(problem)}): give a text encoder") from None


def _network(network) -> dict[str, np.ndarray]:
    modules = [node.data.module for node in _listed(network.forwardnodes)]
    convolutions = [layer for module in modules for layer in _layers(module) if _kind(layer) == "TemporalConvolution"]
    (recurrence,) = [module for module in modules if _kind(module) == "gModule"]
    (projection,) = [module for module in modules if _kind(module) == "Linear"]
    state = _weights(projection, "emb_proj") | _recurrence(_listed(recurrence.forwardnodes))
    for name, convolution in zip(("conv1", "conv2", "conv3"), convolutions, strict=True):
        state |= _weights(convolution, name)  # (filters, 4 characters * channels)
        kernel = state[f"{name}.weight"].reshape(len(state[f"{name}.bias"]), 4, -1)
        state[f"{name}.weight"] = kernel.transpose(0, 2, 1)
    return state


def _recurrence(nodes: list) -> dict[str, np.ndarray]:
    """The weights of a recurrence, which its steps share, by their names in the PyTorch port."""
    scales = [node.data.module.constant_scalar for node in nodes if _kind(node.data.module) == "MulConstant"]
    if not any(0 < scale < 1 for scale in scales):
        raise InputError("the recurrence gives its last state, not the mean of all: only encoders with the mean fit")
    children = {id(node): _listed(node.children) for node in nodes}
    inner = [node for node in nodes if _kind(node.data.module) not in ("Identity", None)]  # all but the inputs
    of_state = {id(child) for node in inner for child in children[id(node)]}
    linears = [(node, layer) for node in inner for layer in _layers(node.data.module) if _kind(layer) == "Linear"]
    state: dict[str, np.ndarray] = {}
    for node, linear in linears:
        activation = children[id(node)][0]
        if _kind(activation.data.module) == "CAddTable":
            activation = children[id(activation)][0]
        gate = ""
        if _kind(activation.data.module) == "Sigmoid":  # that of the update also gives what is kept, 1 - update
            kept = any(_kind(child.data.module) == "MulConstant" for child in children[id(activation)])
            gate = "_update" if kept else "_reset"
        for name, values in _weights(linear, f"rnn.{'h2h' if id(node) in of_state else 'i2h'}{gate}").items():
            if not np.array_equal(state.setdefault(name, values), values):
                raise InputError(f"the steps of the recurrence do not share {name}: this is no char-CNN-RNN")
    return state


def _kind(thing) -> str | None:
    """The last part of a class's name, `Linear` of `nn.Linear` and of `cudnn.Linear`; None if it is no object."""
    name = getattr(thing, "_typename", None)
    return name.decode("latin-1").rpartition(".")[2] if isinstance(name, bytes) else None


def _listed(table: dict) -> list:
    """What a table holds under 1, 2, and so on."""
    numbered = {key: value for key, value in table.items() if isinstance(key, int)}
    return [numbered[key] for key in sorted(numbered)]


def _layers(module) -> list:
    """The layers of a sequence, or the layer itself."""
    return _listed(module.modules) if _kind(module) == "Sequential" else [module]


def _weights(module, name: str) -> dict[str, np.ndarray]:
    """A layer's weight and bias under its name."""
    found = {f"{name}.{part}": module[part] for part in ("weight", "bias")}
    if not all(isinstance(values, np.ndarray) and values.dtype.kind == "f" for values in found.values()):
        raise InputError(f"a {_kind(module)} of the network lacks its weight or its bias: give a whole file")
    return {part: np.array(values, np.float32) for part, values in found.items()}
