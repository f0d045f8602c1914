"""The same training steps in PyTorch: networks and weights are taken from Keras.

A step exists in several forms: plain (`eager`), in channels-last memory, in bfloat16
by autocast, and compiled. Adam is PyTorch's fused one, and only the weights an update
moves get gradients. Data lie in memory and rows are drawn by `torch.randint`, as a
short PyTorch script does it.
"""

import contextlib
import math
import time

import keras
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tfgen.core import noise
from tfgen.core.errors import BadInput

from . import benchmark_twins

# Sums in another order put a few units on the other side of a LeakyReLU's kink: 2e-3 of
# the critic's gradients, where the penalty's jump. An Adam step turns the sign of tiny
# gradients into whole steps: 2e-2 of the generator's, with losses equal to 5e-6.
TOLERANCES = {"vae": 1e-4, "wgan_gp": 5e-3, "dcgan": 5e-2}
FORMS = ("eager", "channels_last", "bfloat16", "compile")


class Network(nn.Module):
    """A functional Keras network, layer by layer, with its weights.

    Args:
        network: The Keras network.
        layout: Memory format of kernels and feature maps.
    """

    def __init__(self, network, layout):
        super().__init__()
        self.layout = layout
        self.weights = nn.ParameterList()
        tensors = {id(network.inputs[0]): 0}
        self.plan = []  # (function, first weight, last weight, number of its input)
        for layer in network.layers:
            if isinstance(layer, keras.layers.InputLayer):
                continue
            first = len(self.weights)
            for variable in layer.trainable_variables:
                weight = torch.from_numpy(_to_torch(variable))
                weight = weight.contiguous(memory_format=_layout(weight, layout))
                self.weights.append(nn.Parameter(weight))
            function = _function(layer, layout)
            source = tensors[id(layer.input)]
            self.plan.append((function, first, len(self.weights), source))
            tensors[id(layer.output)] = len(self.plan)
        self.outputs = [tensors[id(output)] for output in network.outputs]

    def forward(self, x):
        """Return the outputs: a tensor, or a list of several."""
        values = [x]
        for function, first, last, source in self.plan:
            weights = [self.weights[i] for i in range(first, last)]
            values.append(function(values[source], *weights))
        found = [values[number] for number in self.outputs]
        return found if len(found) > 1 else found[0]


def _layout(tensor, layout):
    return layout if tensor.ndim == 4 else torch.contiguous_format


def _function(layer, layout):
    """Return what a Keras layer does, as a function of its input and its weights."""
    match type(layer).__name__:
        case "Flatten":
            # Keras flattens with channels last.
            return lambda x: x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x
        case "Reshape":
            shape = layer.target_shape
            if len(shape) < 3:
                return lambda x: x.view(-1, *shape)
            return lambda x: (
                x.view(-1, *shape).permute(0, 3, 1, 2).contiguous(memory_format=layout)
            )
        case "Dense":
            activate = _activation(layer)
            return lambda x, kernel, bias=None: activate(F.linear(x, kernel, bias))
        case "BatchNormalization":
            statistics = [
                torch.tensor(v.numpy()) for v in layer.non_trainable_variables
            ]
            # Keras' momentum is the weight of the past.
            share, epsilon = 1 - layer.momentum, layer.epsilon
            return lambda x, *weights: F.batch_norm(
                x, *statistics, *weights, training=True, momentum=share, eps=epsilon
            )
        case "Conv2D":
            activate = _activation(layer)
            strides = layer.strides
            padding = _same(layer.input.shape[1:3], layer.kernel_size, strides)
            return lambda x, kernel, bias=None: activate(
                F.conv2d(F.pad(x, padding), kernel, bias, strides)
            )
        case "Conv2DTranspose":
            return _transposed(layer)
        case "Cropping2D":
            (top, bottom), (left, right) = layer.cropping
            height, width = layer.input.shape[1:3]
            return lambda x: x[:, :, top : height - bottom, left : width - right]
        case "LeakyReLU":
            slope = layer.negative_slope
            return lambda x: F.leaky_relu(x, slope)
        case "ReLU":
            return F.relu
        case "Activation":
            return _activation(layer)
        case kind:
            raise BadInput(
                f"the PyTorch twin has no layer {kind}; choose other hparams"
            )


def _to_torch(weight):
    """Keras' layout to PyTorch's: its own inverse for all kernels used here."""
    value = weight.numpy() if hasattr(weight, "numpy") else weight
    axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[value.ndim]
    return np.ascontiguousarray(value.transpose(axes))


def _to_keras(value):
    axes = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[value.ndim]
    return value.transpose(axes)


def _activation(layer):
    return {
        "linear": lambda x: x,
        "tanh": torch.tanh,
        "relu": F.relu,
        "softplus": F.softplus,
    }[layer.activation.__name__]


def _same(sizes, kernel, strides):
    """TensorFlow's "same" padding as (left, right, top, bottom)."""
    padding = []
    for size, side, stride in zip(
        reversed(sizes), reversed(kernel), reversed(strides), strict=True
    ):
        total = max(0, (math.ceil(size / stride) - 1) * stride + side - size)
        padding += [total // 2, total - total // 2]
    return padding


def _transposed(layer):
    """Twice the size: the full result less what "same" padding would have added."""
    activate, strides = _activation(layer), layer.strides
    before = (layer.kernel_size[0] - strides[0]) // 2
    height, width = layer.output.shape[1:3]

    def function(x, kernel, bias=None):
        x = F.conv_transpose2d(x, kernel, bias, strides, padding=before)
        return activate(x[:, :, :height, :width])

    return function


class Twin:
    """A training step in PyTorch.

    Args:
        name: One of `benchmark_twins.TRAINED`.
        model: Whose networks and optimizers' settings are copied.
        stream: The data.
        form: One of `FORMS`.
    """

    def __init__(self, name, model, stream, form):
        self.name, self.model, self.stream = name, model, stream
        self.tolerance = TOLERANCES[name]
        self.config, self.batch = model.config, stream.batch
        eager = form == "eager"
        self.layout = torch.contiguous_format if eager else torch.channels_last
        self.bfloat16 = form == "bfloat16"
        self.networks = {
            name: Network(network, self.layout)
            for name, network in model.networks.items()
        }
        if form == "compile":
            for network in self.networks.values():
                network.compile()
        self.optimizers = {
            optimizer: self._adam(model.optimizers[optimizer], names)
            for optimizer, names in benchmark_twins.TRAINED[name].items()
        }
        self.updates = dict.fromkeys(self.optimizers, 0)
        self.step = {"vae": self._vae, "wgan_gp": self._wgan_gp, "dcgan": self._dcgan}[
            name
        ]
        self.rows = torch.from_numpy(np.array(stream.arrays["image"]))

    def _adam(self, source, names):
        weights = [w for name in names for w in self.networks[name].weights]
        betas = source.beta_1, source.beta_2
        rate = self.config.learning_rate
        return torch.optim.Adam(weights, rate, betas, source.epsilon, fused=True)

    def first(self):
        """Run one step on the first rows and the noise that tfgen draws for it."""
        updates = self.model.updates_per_step
        batch = next(iter(self.stream.dataset(updates=updates)))
        parts = np.split(batch["image"].numpy(), updates)

        def draw(purpose, shape, kind=noise.normal):
            drawn = kind(self.model.seed, 0, purpose, self.batch, shape).numpy()
            return torch.from_numpy(np.array(drawn))

        logs = self.step(iter(torch.from_numpy(part) for part in parts), draw)
        return {name: value.item() for name, value in logs.items()}

    def block(self, steps):
        """Run steps and read the last losses."""

        def batches():
            while True:
                yield self.rows[torch.randint(len(self.rows), (self.batch,))]

        def draw(purpose, shape, kind=noise.normal):
            make = torch.randn if kind is noise.normal else torch.rand
            return make(self.batch, *shape)

        images = batches()
        for _ in range(steps):
            logs = self.step(images, draw)
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
                found[f"{name}/{places[id(moment)]:03d} momentum"] = _to_keras(value)
        return found

    def _pixels(self, images):
        """Return the next rows, bytes in NCHW."""
        images = next(images).permute(0, 3, 1, 2)
        return images.contiguous(memory_format=self.layout).float()

    def _precision(self):
        """Where networks and losses run."""
        if self.bfloat16:
            return torch.autocast("cpu", torch.bfloat16)
        return contextlib.nullcontext()

    def _update(self, name, loss):
        optimizer = self.optimizers[name]
        weights = optimizer.param_groups[0]["params"]
        for weight, gradient in zip(
            weights, torch.autograd.grad(loss, weights), strict=True
        ):
            # Fused Adam walks both in memory order, so the strides must be the same.
            layout = _layout(weight, self.layout)
            weight.grad = gradient.contiguous(memory_format=layout)
        # Keras adds epsilon before it corrects the bias of the second moment.
        self.updates[name] += 1
        shrunk = 1 - self.model.optimizers[name].beta_2 ** self.updates[name]
        for group in optimizer.param_groups:
            group["eps"] = self.model.optimizers[name].epsilon / math.sqrt(shrunk)
        optimizer.step()

    def _vae(self, images, draw):
        x = self._pixels(images) / 255
        epsilon = draw("epsilon", [self.config.latent_size])
        with self._precision():
            mean, log_variance = self.networks["encoder"](x)
            z = mean + (0.5 * log_variance).exp() * epsilon
            logits = self.networks["decoder"](z).float()
        terms = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        log_likelihood = -terms / self.batch
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
        elbo = log_likelihood - kl
        self._update("optimizer", -elbo)
        return {"elbo": elbo, "log_likelihood": log_likelihood, "kl": kl}

    def _wgan_gp(self, images, draw):
        config, latent = self.config, [self.config.latent_size]
        generator, critic = self.networks["generator"], self.networks["critic"]
        for number in range(config.critic_steps):
            real = self._pixels(images) / 127.5 - 1
            with torch.no_grad(), self._precision():
                fake = generator(draw(f"critic_z/{number}", latent)).float()
            mix = draw(f"mix/{number}", [1, 1, 1], noise.uniform)
            between = (fake + mix * (real - fake)).requires_grad_()
            with self._precision():
                scores = critic(torch.cat([real, fake])).float()
                total = critic(between).float().sum()
            estimate = scores[: self.batch].mean() - scores[self.batch :].mean()
            (slopes,) = torch.autograd.grad(total, between, create_graph=True)
            norm = (slopes.square().sum((1, 2, 3)) + 1e-12).sqrt()
            penalty = (norm - 1).square().mean()
            self._update("critic_optimizer", config.penalty_weight * penalty - estimate)
        with self._precision():
            loss = -critic(generator(draw("z", latent))).float().mean()
        self._update("generator_optimizer", loss)
        self._move_average()
        return {
            "wasserstein_estimate": estimate,
            "gradient_penalty": penalty,
            "generator_loss": loss,
        }

    def _dcgan(self, images, draw):
        generator = self.networks["generator"]
        discriminator = self.networks["discriminator"]

        def latents(purpose):
            size = [self.config.latent_size]
            if self.config.latent == "normal":
                return draw(purpose, size)
            return 2 * draw(purpose, size, noise.uniform) - 1

        real = self._pixels(images) / 127.5 - 1
        with torch.no_grad(), self._precision():
            fake = generator(latents("discriminator_z/0"))
        with self._precision():
            logits = discriminator(real).float(), discriminator(fake).float()
        separation = F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean()
        self._update("discriminator_optimizer", separation)
        with self._precision():
            logits = discriminator(generator(latents("z"))).float()
        deception = F.softplus(-logits).mean()
        self._update("generator_optimizer", deception)
        self._move_average()
        return {"discriminator_loss": separation, "generator_loss": deception}

    def _move_average(self):
        if average := self.networks.get("generator_ema"):
            share = 1 - self.config.average_decay
            new = list(self.networks["generator"].weights)
            with torch.no_grad():
                torch._foreach_lerp_(list(average.weights), new, share)


def fastest(make, steps, say):
    """Time every form.

    Args:
        make: Function of a form that returns its twin.
        steps: Steps that count; as many warm up.
        say: Called with a line for each form.

    Returns:
        (name of the fastest, {form: seconds a step, or why it does not run}).
    """
    found, best = {}, None
    for form in FORMS:
        try:
            twin = make(form)
            twin.block(steps)
            started = time.perf_counter()
            twin.block(steps)
            found[form] = (time.perf_counter() - started) / steps
        except RuntimeError as error:  # no second derivative of what is compiled
            found[form] = str(error).splitlines()[0]
        else:
            best = form if best is None or found[form] < found[best] else best
        say(f"PyTorch, {form}: {found[form]}")
    return best, found
