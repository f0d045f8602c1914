"""What all training steps in PyTorch share: data, weights, updates, and their forms.

A step exists in several forms: plain (`eager`), in channels-last memory, in bfloat16
by autocast, and compiled. Adam is PyTorch's fused one, and only the weights an update
moves get gradients. Data lie in memory and rows are drawn by `torch.randint`, as a
short PyTorch script does it.
"""

import contextlib
import math
import time

import numpy as np
import torch

from tfgen.core import noise

from .benchmark_torch_layers import Network, layout_of, to_keras

FORMS = ("eager", "channels_last", "bfloat16", "compile")
FAR = 4  # times the fastest: a form that is not timed further


class Twin:
    """A training step in PyTorch.

    Args:
        model: Whose networks and optimizers' settings are copied.
        stream: The data.
        form: One of `FORMS`.
    """

    trained = {}  # optimizer -> networks it trains
    written_for = {}  # field of the config -> value
    features = ("image",)
    tolerance = 1e-4  # of losses, and of gradients relative to their largest

    def __init__(self, model, stream, form):
        self.model, self.stream = model, stream
        self.config, self.batch = model.config, stream.batch
        eager = form == "eager"
        self.layout = torch.contiguous_format if eager else torch.channels_last
        self.bfloat16 = form == "bfloat16"
        self.networks = {
            name: self.twin_of(name, network)
            for name, network in self.networks_of(model).items()
        }
        if form == "compile":
            for network in self.networks.values():
                network.compile()
        self.optimizers = {
            optimizer: self._adam(model.optimizers[optimizer], names)
            for optimizer, names in self.trained.items()
        }
        self.updates = dict.fromkeys(self.optimizers, 0)
        self.rows = {
            name: torch.from_numpy(np.array(array))
            for name, array in self.arrays_of(stream).items()
        }

    @staticmethod
    def networks_of(model):
        """Return {name: functional Keras network}."""
        return model.networks

    def twin_of(self, name, network):
        """Return a network in PyTorch."""
        return Network(network, self.layout)

    def features_of(self, arrays):
        """Return {feature: array of as many rows} of what `step` gets."""
        return {name: arrays[name] for name in self.features}

    def arrays_of(self, stream):
        """Return {feature: array of all rows}."""
        return self.features_of(stream.arrays)

    def step(self, batches, draw):
        """Train one step.

        Args:
            batches: Iterator of {feature: bytes `[rows, ..., c]`}.
            draw: Function of a purpose, a shape and a kind of noise.

        Returns:
            {name: loss}, as `GenerativeModel.track` names them.
        """
        raise NotImplementedError

    def first(self):
        """Run one step on the first rows and the noise that tfgen draws for it."""
        updates = self.model.updates_per_step
        batch = next(iter(self.stream.dataset(updates=updates)))
        batch = self.features_of({name: x.numpy() for name, x in batch.items()})
        parts = {name: np.split(x, updates) for name, x in batch.items()}

        def draw(purpose, shape, kind=noise.normal):
            drawn = kind(self.model.seed, 0, purpose, self.batch, shape).numpy()
            return torch.from_numpy(np.array(drawn))

        batches = (
            {name: torch.from_numpy(parts[name][n]) for name in self.features}
            for n in range(updates)
        )
        logs = self.step(batches, draw)
        return {name: value.item() for name, value in logs.items()}

    def block(self, steps):
        """Run steps and read the last losses."""

        def batches():
            while True:
                yield {
                    name: rows[torch.randint(len(rows), (self.batch,))]
                    for name, rows in self.rows.items()
                }

        def draw(purpose, shape, kind=noise.normal):
            make = torch.randn if kind is noise.normal else torch.rand
            return make(self.batch, *shape)

        endless = batches()
        for _ in range(steps):
            logs = self.step(endless, draw)
        for value in logs.values():
            value.item()

    def state(self):
        """Return the optimizers' first moments, as `benchmark_sides` names them."""
        found = {}
        for name, optimizer in self.optimizers.items():
            source = self.model.optimizers[name]
            places = {id(v): i for i, v in enumerate(source.variables)}
            weights = optimizer.param_groups[0]["params"]
            for weight, moment in zip(weights, source._momentums, strict=True):
                value = optimizer.state[weight]["exp_avg"].numpy()
                found[f"{name}/{places[id(moment)]:03d} momentum"] = to_keras(value)
        return found

    def pixels(self, data):
        """Return bytes `[rows, ..., c]` as numbers, channels first."""
        data = data.movedim(-1, 1)
        return data.contiguous(memory_format=layout_of(data, self.layout)).float()

    def precision(self):
        """Where networks and losses run."""
        if self.bfloat16:
            return torch.autocast("cpu", torch.bfloat16)
        return contextlib.nullcontext()

    def update(self, name, loss):
        """Move the networks of an optimizer down the gradient of a loss."""
        optimizer = self.optimizers[name]
        weights = optimizer.param_groups[0]["params"]
        # A penalty of slopes does not see the last bias.
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
        for weight, gradient in zip(weights, gradients, strict=True):
            # Fused Adam walks both in memory order, so the strides must be the same.
            layout = layout_of(weight, self.layout)
            weight.grad = gradient.contiguous(memory_format=layout)
        # Keras adds epsilon before it corrects the bias of the second moment.
        self.updates[name] += 1
        source = self.model.optimizers[name]
        shrunk = 1 - float(source.beta_2) ** self.updates[name]
        for group in optimizer.param_groups:
            group["eps"] = source.epsilon / math.sqrt(shrunk)
        optimizer.step()

    def move_average(self, name, share):
        """Move a network's average, if there is one, towards it by a share."""
        if average := self.networks.get(f"{name}_ema"):
            with torch.no_grad():
                new = list(self.networks[name].weights)
                torch._foreach_lerp_(list(average.weights), new, share)

    def _adam(self, source, names):
        weights = [w for name in names for w in self.networks[name].weights]
        betas = float(source.beta_1), float(source.beta_2)
        rate = float(source.learning_rate)
        return torch.optim.Adam(weights, rate, betas, source.epsilon, fused=True)


def uncompiled(network):
    """Return what calls a network as it is: compiled, it has no second derivative."""
    return network.forward


def fastest(make, steps, say):
    """Time every form.

    Args:
        make: Function of a form that returns its twin.
        steps: Steps that count; as many warm up, unless one takes `FAR` times the
            best form's.
        say: Called with a line for each form.

    Returns:
        (name of the fastest, {form: seconds a step, or why it does not run}).
    """
    found, best = {}, None
    for form in FORMS:
        try:
            twin = make(form)
            twin.block(1)
            found[form] = _seconds(twin, 1)
            if best is None or found[form] < FAR * found[best]:
                twin.block(steps)
                found[form] = _seconds(twin, steps)
        except RuntimeError as error:
            found[form] = str(error).splitlines()[0]
        else:
            best = form if best is None or found[form] < found[best] else best
        say(f"PyTorch, {form}: {found[form]}")
    return best, found


def _seconds(twin, steps):
    started = time.perf_counter()
    twin.block(steps)
    return (time.perf_counter() - started) / steps
