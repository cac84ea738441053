"""The char-CNN-RNN in its PyTorch port: the names of its layers and tensors, and the sizes that their shapes tell.

The tables are as in `pytorch_release`.
"""

import numpy as np

from stackgan_keras.porting.pytorch_release import DENSE

CONV = ((".weight", "/kernel", "oiw->wio"), (".bias", "/bias", "o->o"))
RECURRENT = ((".weight", "_kernel", "oi->io"), (".bias", "_bias", "o->o"))
GATES = {"birds": {"_update": "update", "_reset": "reset", "": "state"}, "flowers": {"": "state"}}


def text_encoder(*, variant: str, **_):
    for i in (1, 2, 3):
        yield f"conv{i}", f"conv{i}", CONV
    for suffix, gate in GATES[variant].items():
        yield f"rnn.i2h{suffix}", f"recurrence/{gate}_input", RECURRENT
        yield f"rnn.h2h{suffix}", f"recurrence/{gate}_recurrent", RECURRENT
    yield "emb_proj", "project", DENSE


def text_encoder_sizes(state: dict[str, np.ndarray]) -> dict:
    return {
        "variant": "birds" if any(name.startswith("rnn.h2h_update.") for name in state) else "flowers",
        "filters": state["conv1.weight"].shape[0],
        "recurrent_dim": state["conv3.weight"].shape[0],
        "text_dim": state["emb_proj.weight"].shape[0],
    }
