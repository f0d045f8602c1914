"""GANSynth in PyTorch: its networks of blocks at full size, and its training step."""

import torch
import torch.nn.functional as F
from torch import nn

from tfgen.core import noise
from tfgen.core.spec import adapter
from tfgen.metrics.passes import in_parts

from .benchmark_torch import Twin
from .benchmark_torch_layers import layout_of, to_torch

SLOPE = 0.2  # of leaky ReLUs


class Blocks(nn.Module):
    """The weights of a network of `tfgen.networks.progressive`, and its convolutions.

    Args:
        network: Its first block with a head or an inlet is the last.
        layout: Memory format of kernels and feature maps.
    """

    def __init__(self, network, layout):
        super().__init__()
        weights = [torch.from_numpy(to_torch(v.numpy())) for v in network.variables]
        self.weights = nn.ParameterList(
            nn.Parameter(w.contiguous(memory_format=layout_of(w, layout)))
            for w in weights
        )
        self.layout = layout
        self.places = {id(v): place for place, v in enumerate(network.variables)}
        self.convolutions = [self.place_of(layer) for layer in network.convolutions]

    def place_of(self, layer):
        """Return (number of the kernel, of the bias, scale of the kernel)."""
        return self.places[id(layer.kernel)], self.places[id(layer.bias)], layer.scale

    def taken(self, place):
        """Return (kernel, bias) of a layer as they are used."""
        kernel, bias, scale = place
        return scale * self.weights[kernel], self.weights[bias]

    def convolve(self, x, place):
        """Return the convolution of x with zeros around it."""
        kernel, bias = self.taken(place)
        return F.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)


class Generator(Blocks):
    """z beside one-hot pitches `[rows, n]` -> pictures `[rows, 2, h, w]`."""

    def __init__(self, network, layout):
        super().__init__(network, layout)
        (head,) = network.heads
        self.head, self.epsilon = self.place_of(head), network.normalise.epsilon

    def forward(self, x):
        """Return the pictures."""
        spread, *others = self.convolutions
        kernel, bias = self.taken(spread)
        x = self.normalise(x)[:, :, None, None]
        x = F.conv_transpose2d(x, kernel.transpose(0, 1), bias)
        x = x.contiguous(memory_format=self.layout)
        x = self.normalise(F.leaky_relu(x, SLOPE))
        for number, place in enumerate(others):
            if number % 2:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = self.normalise(F.leaky_relu(self.convolve(x, place), SLOPE))
        return torch.tanh(self.convolve(x, self.head).float())

    def normalise(self, x):
        """Divide by the root of the second moment over channels."""
        wide = x.float()
        moment = wide.square().mean(1, keepdim=True)
        return (wide * (moment + self.epsilon).rsqrt()).to(x.dtype)


class Discriminator(Blocks):
    """Pictures -> scores and logits."""

    def __init__(self, network, layout):
        super().__init__(network, layout)
        (inlet,) = network.inlets
        self.inlet = self.place_of(inlet)
        self.hidden = self.place_of(network.hidden)
        self.ends = [self.place_of(layer) for layer in (network.scores, network.logits)]
        self.epsilon = network.stddev.epsilon

    def forward(self, x):
        """Return (scores, logits)."""
        first, *others = self.convolutions
        x = F.leaky_relu(self.convolve(x, self.inlet), SLOPE)
        for block in range(len(others) // 2, 0, -1):
            for place in others[2 * block - 2 : 2 * block]:
                x = F.leaky_relu(self.convolve(x, place), SLOPE)
            x = F.avg_pool2d(x, 2)
        spread = (x.float().var(0, unbiased=False) + self.epsilon).sqrt().mean()
        maps = spread.to(x.dtype).expand(len(x), 1, *x.shape[2:])
        x = F.leaky_relu(self.convolve(torch.cat([x, maps], 1), first), SLOPE)
        x = F.linear(x.movedim(1, -1).flatten(1), *self.taken(self.hidden))
        x = F.leaky_relu(x, SLOPE)
        return [F.linear(x, *self.taken(place)).float() for place in self.ends]


class GANSynthFlat(Twin):
    """Of `gansynth_flat`; spared of making spectrograms, which are made before."""

    trained = {
        "discriminator_optimizer": ("discriminator",),
        "generator_optimizer": ("generator",),
    }
    features = ("spectrogram", "pitch")
    # The kinks of leaky ReLUs, as in `WGANGP`.
    tolerance = 5e-3

    def __init__(self, model, stream, form):
        super().__init__(model, stream, form)
        self.scale, self.offset = (
            torch.tensor(x.numpy())[:, None, None]
            for x in model.representation.scaling()
        )

    def twin_of(self, name, network):
        """See `Twin`."""
        kind = Discriminator if name == "discriminator" else Generator
        return kind(network, self.layout)

    def features_of(self, arrays):
        """Return spectrograms `[n, frames, bins, 2]` and class numbers."""
        adapt, _ = adapter(self.stream.spec, self.model.spec)

        def seen(audio, pitch):
            batch = adapt({"audio": audio, "pitch": pitch})
            made = self.model.representation.forward(batch["audio"])
            return {"spectrogram": made, "pitch": batch["pitch"]}

        return in_parts(seen, arrays["audio"], arrays["pitch"], rows=self.batch)

    def step(self, batches, draw):
        """One update of each network."""
        config, latents = self.config, [self.config.latent_size]
        batch = next(batches)
        real = self.pixels(batch["spectrogram"])
        classes = batch["pitch"].long()
        y = F.one_hot(classes, len(self.model.pitches)).float()
        with torch.no_grad(), self.precision():
            z = draw("discriminator_z", latents)
            fake = self.make(z, y.roll(self.batch // 2, 0))
        mix = draw("mix", [1, 1, 1], noise.uniform)
        between = (fake + mix * (real - fake)).requires_grad_()
        with self.precision():
            score, logits = self.judge(real)
            estimate = score.mean() - self.judge(fake)[0].mean()
            total = self.judge(between)[0].sum()
        (slopes,) = torch.autograd.grad(total, between, create_graph=True)
        norm = (slopes.square().sum((1, 2, 3)) + 1e-12).sqrt()
        penalty = (norm - 1).square().mean()
        pitch = F.cross_entropy(logits, classes)
        loss = config.penalty_weight * penalty - estimate + config.pitch_weight * pitch
        loss = loss + config.drift_weight * score.square().mean()
        self.update("discriminator_optimizer", loss)
        with self.precision():
            score, logits = self.judge(self.make(draw("z", latents), y))
        heard = F.cross_entropy(logits, classes)
        deceived = -score.mean()
        loss = deceived + config.generator_pitch_weight * heard
        self.update("generator_optimizer", loss)
        self.move_average("generator", 1 - config.average_decay)
        return {
            "wasserstein_estimate": estimate,
            "gradient_penalty": penalty,
            "pitch_cross_entropy": pitch,
            "generator_loss": deceived,
            "fake_pitch_cross_entropy": heard,
        }

    def make(self, z, y):
        """Return spectrograms in physical units."""
        made = self.networks["generator"](torch.cat([z, y], 1))
        return (made - self.offset) / self.scale

    def judge(self, spectrograms):
        """Return scores and logits of spectrograms in physical units."""
        seen = (spectrograms * self.scale + self.offset).clamp(-1, 1)
        return self.networks["discriminator"](seen)


TWINS = {"gansynth_flat": GANSynthFlat}
