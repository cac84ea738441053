"""The train steps of `stackgan_keras.training.train_step` as pure functions for JAX, with the same losses.

A state is a dict: of each network its `trainable` and `other` values, lists in Keras's order; each optimizer's values;
those of the EMA, if there is one; and `step`, the number of steps done.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops

from stackgan_keras.training.objective import Losses, Objective, WarmupLosses


class WholeBatch:
    """The global batch of so many examples where one device has all of it, as `distribution.GlobalBatch` of several."""

    def __init__(self, batch: dict):
        self.total = len(batch["image"])

    def mean(self, values):
        return ops.sum(values) / self.total

    def mean_where(self, chosen, values):
        weights = ops.cast(chosen, values.dtype)
        return ops.sum(weights * values) / ops.maximum(ops.sum(weights), 1)

    def next_rows(self, values):
        return ops.stop_gradient(values[1:])


class TrainStep:
    """(state, batch) to the state after one step of both networks, and the scalars to log.

    `ema` is the network that holds the generator's EMA and what moves it, as `optimizers.make_ema` gives it.
    """

    def __init__(
        self,
        networks: dict[str, keras.Model],
        optimizers: dict[str, keras.optimizers.Optimizer],
        objective: Objective,
        ema: tuple[keras.Model, Callable] | None = None,
        pretrained: keras.Model | None = None,
    ):
        """Both dicts have a `generator` and a `discriminator`."""
        self.networks, self.optimizers, self.ema = networks, optimizers, ema
        self.losses = Losses(networks["generator"], networks["discriminator"], objective, pretrained)

    def state(self) -> dict:
        """That of the networks and optimizers as they are."""
        state = _first_state(self.networks, self.optimizers)
        return state | ({"ema": _copies(self.ema[0].variables)} if self.ema else {})

    def __call__(self, state: dict, batch: dict) -> tuple[dict, dict]:
        generator, discriminator, everyone = state["generator"], state["discriminator"], WholeBatch(batch)

        def fakes(trainable):
            with _at(self.networks, generator=(trainable, generator["other"])) as scope:
                return self.losses.fake(batch), _others(scope, self.networks)["generator"]

        fake, back, others = jax.vjp(fakes, generator["trainable"], has_aux=True)
        text = self.losses.text(batch["embedding"], fake)

        def of_discriminator(trainable):
            with _at(self.networks, discriminator=(trainable, discriminator["other"])) as scope:
                loss, scalars = self.losses.of_discriminator(batch, fake, text, everyone)
                return loss, (scalars, _others(scope, self.networks)["discriminator"])

        found = jax.grad(of_discriminator, has_aux=True)(discriminator["trainable"])
        gradients, (scalars, others_of_discriminator) = found
        trained, adam = _applied(self.optimizers, state, "discriminator", gradients)

        def of_generator(fake, trainable):
            values = {"generator": (trainable, others), "discriminator": (trained, others_of_discriminator)}
            with _at(self.networks, **values) as scope:
                loss, of_generator = self.losses.of_generator(batch, fake, text, everyone)
                return loss, (of_generator, _others(scope, self.networks))

        found = jax.grad(of_generator, argnums=(0, 1), has_aux=True)(fake, generator["trainable"])
        (through_fake, direct), (more, others) = found
        gradients = jax.tree.map(jnp.add, direct, back(through_fake)[0])
        state = state | {"discriminator": {"trainable": trained, "other": others["discriminator"]}}
        trained, adam_of_generator = _applied(self.optimizers, state, "generator", gradients)
        state |= {
            "generator": {"trainable": trained, "other": others["generator"]},
            "optimizers": {"generator": adam_of_generator, "discriminator": adam},
            "step": state["step"] + 1,
        }
        return self._averaged(state), scalars | more

    def _averaged(self, state: dict) -> dict:
        if self.ema is None:
            return state
        kept, move = self.ema
        generator = (state["generator"]["trainable"], state["generator"]["other"])
        with _at(self.networks, generator=generator, more=zip(kept.variables, state["ema"], strict=True)) as scope:
            move(state["step"])
            return state | {"ema": [scope.get_current_value(variable) for variable in kept.variables]}

    def write_back(self, state: dict) -> None:
        """Gives the networks and optimizers the values of a state."""
        _assign(state, self.networks, self.optimizers)
        for variable, value in zip(self.ema[0].variables if self.ema else [], state.get("ema", []), strict=True):
            variable.assign(np.asarray(value))


class WarmupStep:
    """As `TrainStep`, but for the generator alone, by `WarmupLosses`."""

    def __init__(self, generator: keras.Model, optimizer: keras.optimizers.Optimizer, kl_weight: float):
        self.networks, self.optimizers = {"generator": generator}, {"generator": optimizer}
        self.losses = WarmupLosses(generator, kl_weight)

    def state(self) -> dict:
        return _first_state(self.networks, self.optimizers)

    def __call__(self, state: dict, batch: dict) -> tuple[dict, dict]:
        generator, everyone = state["generator"], WholeBatch(batch)

        def loss_of(trainable):
            with _at(self.networks, generator=(trainable, generator["other"])) as scope:
                loss, scalars = self.losses.of_generator(batch, everyone)
                return loss, (scalars, _others(scope, self.networks)["generator"])

        gradients, (scalars, others) = jax.grad(loss_of, has_aux=True)(generator["trainable"])
        trained, adam = _applied(self.optimizers, state, "generator", gradients)
        generator = {"trainable": trained, "other": others}
        return {"generator": generator, "optimizers": {"generator": adam}, "step": state["step"] + 1}, scalars

    def write_back(self, state: dict) -> None:
        _assign(state, self.networks, self.optimizers)


def _first_state(networks: dict, optimizers: dict) -> dict:
    values = {
        name: {"trainable": _copies(each.trainable_variables), "other": _copies(each.non_trainable_variables)}
        for name, each in networks.items()
    }
    adams = {name: _copies(optimizer.variables) for name, optimizer in optimizers.items()}
    return {**values, "optimizers": adams, "step": jnp.zeros((), jnp.int32)}


def _copies(variables: list) -> list:
    """Values that may be given away to be overwritten."""
    return [jnp.array(np.asarray(variable)) for variable in variables]


def _at(networks: dict, more=(), **values) -> keras.StatelessScope:
    """In this scope the named networks have these values, (trainable, other), and their changes are kept in it."""
    pairs = list(more)
    for name, (trainable, other) in values.items():
        pairs += zip(networks[name].trainable_variables, trainable, strict=True)
        pairs += zip(networks[name].non_trainable_variables, other, strict=True)
    return keras.StatelessScope(state_mapping=pairs)


def _others(scope: keras.StatelessScope, networks: dict) -> dict:
    """What a scope has made of the networks' values that are not trained; None for what it does not know."""
    return {n: [scope.get_current_value(v) for v in each.non_trainable_variables] for n, each in networks.items()}


def _applied(optimizers: dict, state: dict, name: str, gradients: list) -> tuple[list, list]:
    """A network's trainable values, and its optimizer's, after the optimizer's step."""
    return optimizers[name].stateless_apply(state["optimizers"][name], gradients, state[name]["trainable"])


def _assign(state: dict, networks: dict, optimizers: dict) -> None:
    pairs = [(optimizers[name].variables, values) for name, values in state["optimizers"].items()]
    for name, each in networks.items():
        pairs.append((each.trainable_variables, state[name]["trainable"]))
        pairs.append((each.non_trainable_variables, state[name]["other"]))
    for variables, values in pairs:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(np.asarray(value))
