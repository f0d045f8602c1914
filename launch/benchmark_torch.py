"""The same training steps in PyTorch: networks and weights are taken from Keras.

Images are NCHW in channels-last memory, PyTorch's fast layout on CPUs. Data lie in
memory and rows are drawn by `torch.randint`, as a short PyTorch script does it.
"""

import math

import keras
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tfgen.core import noise
from tfgen.core.errors import BadInput

from . import benchmark_twins


class Network(nn.Module):
    """A functional Keras network, layer by layer, with its weights."""

    def __init__(self, network):
        super().__init__()
        self.source = network
        self.weights = nn.ParameterList(
            nn.Parameter(torch.from_numpy(_to_torch(weight)))
            for weight in network.trainable_variables
        )
        self.index = {id(v): i for i, v in enumerate(network.trainable_variables)}
        self.statistics = {
            id(layer): [torch.tensor(v.numpy()) for v in layer.non_trainable_variables]
            for layer in network.layers
        }

    def forward(self, x):
        """Return the outputs: a tensor, or a list of several."""
        values = {id(self.source.inputs[0]): x}
        for layer in self.source.layers:
            if not isinstance(layer, keras.layers.InputLayer):
                inputs = values[id(layer.input)]
                values[id(layer.output)] = self._apply(layer, inputs)
        found = [values[id(output)] for output in self.source.outputs]
        return found if len(found) > 1 else found[0]

    def _apply(self, layer, x):
        weights = [self.weights[self.index[id(v)]] for v in layer.trainable_variables]
        kernel, bias = [*weights, None, None][:2]
        match type(layer).__name__:
            case "Flatten":
                return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x
            case "Reshape" if len(layer.target_shape) == 3:
                return x.view(-1, *layer.target_shape).permute(0, 3, 1, 2)
            case "Reshape":
                return x.view(-1, *layer.target_shape)
            case "Dense":
                return _activate(layer, F.linear(x, kernel, bias))
            case "BatchNormalization":
                # Keras' momentum is the weight of the past.
                return F.batch_norm(
                    x,
                    *self.statistics[id(layer)],
                    *weights,
                    training=True,
                    momentum=1 - layer.momentum,
                    eps=layer.epsilon,
                )
            case "Conv2D":
                padding = _same(x.shape[2:], layer.kernel_size, layer.strides)
                x = F.conv2d(F.pad(x, padding), kernel, bias, layer.strides)
                return _activate(layer, x)
            case "Conv2DTranspose":
                return _activate(layer, _transposed(layer, x, kernel, bias))
            case "Cropping2D":
                (top, bottom), (left, right) = layer.cropping
                height, width = x.shape[2:]
                return x[:, :, top : height - bottom, left : width - right]
            case "LeakyReLU":
                return F.leaky_relu(x, layer.negative_slope)
            case "ReLU":
                return F.relu(x)
            case "Activation":
                return _activate(layer, x)
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


def _activate(layer, x):
    name = layer.activation.__name__
    if name == "linear":
        return x
    return {"tanh": torch.tanh, "relu": F.relu, "softplus": F.softplus}[name](x)


def _same(sizes, kernel, strides):
    """TensorFlow's "same" padding as (left, right, top, bottom)."""
    padding = []
    for size, side, stride in zip(
        reversed(sizes), reversed(kernel), reversed(strides), strict=True
    ):
        total = max(0, (math.ceil(size / stride) - 1) * stride + side - size)
        padding += [total // 2, total - total // 2]
    return padding


def _transposed(layer, x, kernel, bias):
    """Twice the size: the full result less what "same" padding would have added."""
    before = (layer.kernel_size[0] - layer.strides[0]) // 2
    x = F.conv_transpose2d(x, kernel, bias, layer.strides, padding=before)
    height, width = layer.output.shape[1:3]
    return x[:, :, :height, :width]


class Twin:
    """A training step in PyTorch.

    Args:
        name: "vae" or "wgan_gp".
        model: Whose networks and optimizers' settings are copied.
        stream: The data.
    """

    # Sums in another order put a few units on the other side of a LeakyReLU's kink,
    # where the penalty's gradient jumps: 2e-3 after three critic updates.
    tolerance = 5e-3

    def __init__(self, name, model, stream):
        self.name, self.model, self.stream = name, model, stream
        self.config, self.batch = model.config, stream.batch
        self.networks = {n: Network(net) for n, net in model.networks.items()}
        self.optimizers = {
            optimizer: self._adam(model.optimizers[optimizer], names)
            for optimizer, names in benchmark_twins.TRAINED[name].items()
        }
        self.updates = dict.fromkeys(self.optimizers, 0)
        self.step = {"vae": self._vae, "wgan_gp": self._wgan_gp}[name]
        self.rows = torch.from_numpy(np.array(stream.arrays["image"]))

    def _adam(self, source, names):
        weights = [w for name in names for w in self.networks[name].weights]
        betas = source.beta_1, source.beta_2
        return torch.optim.Adam(
            weights, self.config.learning_rate, betas, source.epsilon
        )

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

    def _update(self, name, loss):
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward()
        # Keras adds epsilon before it corrects the bias of the second moment.
        self.updates[name] += 1
        shrunk = 1 - self.model.optimizers[name].beta_2 ** self.updates[name]
        for group in optimizer.param_groups:
            group["eps"] = self.model.optimizers[name].epsilon / math.sqrt(shrunk)
        optimizer.step()

    def _vae(self, images, draw):
        x = next(images).permute(0, 3, 1, 2).float() / 255
        mean, log_variance = self.networks["encoder"](x)
        epsilon = draw("epsilon", [self.config.latent_size])
        logits = self.networks["decoder"](mean + (0.5 * log_variance).exp() * epsilon)
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
            real = next(images).permute(0, 3, 1, 2).float() / 127.5 - 1
            with torch.no_grad():
                fake = generator(draw(f"critic_z/{number}", latent))
            mix = draw(f"mix/{number}", [1, 1, 1], noise.uniform)
            scores = critic(torch.cat([real, fake]))
            estimate = scores[: self.batch].mean() - scores[self.batch :].mean()
            between = (fake + mix * (real - fake)).requires_grad_()
            (slopes,) = torch.autograd.grad(
                critic(between).sum(), between, create_graph=True
            )
            norm = (slopes.square().sum((1, 2, 3)) + 1e-12).sqrt()
            penalty = (norm - 1).square().mean()
            self._update("critic_optimizer", config.penalty_weight * penalty - estimate)
        loss = -critic(generator(draw("z", latent))).mean()
        self._update("generator_optimizer", loss)
        if average := self.networks.get("generator_ema"):
            with torch.no_grad():
                for old, new in zip(average.weights, generator.weights, strict=True):
                    old.lerp_(new, 1 - config.average_decay)
        return {
            "wasserstein_estimate": estimate,
            "gradient_penalty": penalty,
            "generator_loss": loss,
        }
