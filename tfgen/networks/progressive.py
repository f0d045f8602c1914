"""Generator and discriminator that grow from coarse to fine (Karras et al. 2018).

Blocks b = 1 ... K work at resolutions that double from one to the next. At progress p
in [0, K - 1],

    picture = sum_b alpha(b) enlarge(head_b(x_b))
    y_b    <- beta(b) inlet_b(shrink(picture)) + (1 - beta(b)) y_b,  in judging
    alpha(b) = max(0, min(p - b + 2, b - p)),   beta(b) = min(max(b - p, 0), 1)

so that at a whole p only block p + 1 makes and sees pictures, and between two whole
numbers one of them is faded into the next. Blocks above ceil(p) + 1 are not needed, and
both networks can be called without them: on blocks 1 ... `last`, with pictures at the
resolution of `last`, of which those from `first` on have a head or inlet.

The layers are those of Engel et al. 2019 ("GANSynth"): every kernel N(0, 1) scaled by
He's constant, leaky ReLU of slope 0.2 and then, in the generator, `PixelNorm`.
"""

import math

import keras

from tfgen.layers import box
from tfgen.layers.equalised import EqualisedConv2D, EqualisedDense
from tfgen.layers.minibatch_stddev import MinibatchStddev
from tfgen.layers.pixel_norm import PixelNorm

_HE = math.sqrt(2.0)  # of a rectifier's fan-in; linear layers have 1


def head_weight(block, progress):
    """Return alpha of a block, `[rows, 1, 1, 1]`; progress is `[rows]`."""
    weight = keras.ops.minimum(progress - (block - 2), block - progress)
    return keras.ops.reshape(keras.ops.maximum(weight, 0.0), [-1, 1, 1, 1])


def inlet_weight(block, progress):
    """Return beta of a block, `[rows, 1, 1, 1]`; progress is `[rows]`."""
    weight = keras.ops.clip(block - progress, 0.0, 1.0)
    return keras.ops.reshape(weight, [-1, 1, 1, 1])


def blend(pictures, first, progress):
    """Return sum_b alpha(b) enlarge(picture_b), as fine as the last of them.

    Args:
        pictures: Of block `first` and the ones after it, `[rows, h_b, w_b, c]`.
        first: Number of a block.
        progress: `[rows]`, at which alpha of all other blocks is 0.
    """
    if len(pictures) == 1:
        return pictures[0]
    finest = len(pictures) - 1
    return sum(
        head_weight(first + place, progress)
        * box.enlarge(picture, 2 ** (finest - place))
        for place, picture in enumerate(pictures)
    )


def shrunk(pictures, first, last, progress):
    """Return what `blend` makes of pictures shrunk to blocks `first` ... `last`.

    Args:
        pictures: `[rows, h, w, c]` at the resolution of block `last`.
        first: Number of a block.
        last: Of a block not below it.
        progress: As of `blend`.
    """
    coarser = [box.shrink(pictures, 2 ** (last - b)) for b in range(first, last)]
    return blend([*coarser, pictures], first, progress)


class Generator(keras.Model):
    """(z, y), progress -> pictures in (-1, 1).

    Args:
        size: Length of z and y together.
        start: (h, w) of block 1.
        channels: Feature maps of each block.
        outputs: Channels of a picture.
        first: The first block with a head: 1 to grow, the last to train as a whole.
    """

    def __init__(self, size, start, channels, outputs, first=1):
        super().__init__(name="generator", autocast=False)
        self.first, self.last = first, len(channels)
        self.normalise = PixelNorm()
        below = [size, *channels[:-1]]
        self.convolutions = []
        for inputs, width in zip(below, channels, strict=True):
            kind = Spread if not self.convolutions else EqualisedConv2D
            side = 3 if self.convolutions else start
            self.convolutions += [
                _built(kind(width, side, gain=_HE), inputs),
                _built(EqualisedConv2D(width, 3, gain=_HE), width),
            ]
        self.heads = [
            _built(
                EqualisedConv2D(outputs, 1, activation=keras.ops.tanh, dtype="float32"),
                width,
            )
            for width in channels[first - 1 :]
        ]
        self.built = True

    def parts(self, first, last):
        """Return the layers that `call` with these blocks uses."""
        heads = self.heads[first - self.first : last - self.first + 1]
        return (*self.convolutions[: 2 * last], *heads)

    def call(self, inputs, progress=None, first=None, last=None):
        """Return pictures `[rows, h, w, outputs]` at the resolution of block `last`.

        Args:
            inputs: z `[rows, n]` and y `[rows, classes]`.
            progress: `[rows]` in [first - 1, last - 1]; not looked at if they are one.
            first: The first block whose head is used; none: that has one.
            last: The last block; none: of all.
        """
        first, last = first or self.first, last or self.last
        x = self.normalise(keras.ops.concatenate(inputs, axis=-1))
        pictures = []
        for block in range(1, last + 1):
            x = box.enlarge(x) if block > 1 else x
            for convolution in self.convolutions[2 * block - 2 : 2 * block]:
                x = self.normalise(_leaky_relu(convolution(x)))
            if block >= first:
                pictures.append(self.heads[block - self.first](x))
        return blend(pictures, first, progress)


class Discriminator(keras.Model):
    """Pictures in [-1, 1], progress -> scores and the logits of their classes.

    The deviation that block 1 sees is over all rows of a call.

    Args:
        classes: Number of classes.
        start: (h, w) of block 1.
        channels: Feature maps of each block.
        inputs: Channels of a picture.
        first: The first block with an inlet, as of `Generator`.
    """

    def __init__(self, classes, start, channels, inputs, first=1):
        super().__init__(name="discriminator", autocast=False)
        self.first, self.last = first, len(channels)
        below = [channels[0], *channels[:-1]]
        pairs = list(zip(channels, below, strict=True))
        self.stddev = MinibatchStddev(group=None, epsilon=1e-6)
        # Block 1 sees one map more, and ends in a layer of all its pixels.
        width = channels[0]
        self.convolutions = [_built(EqualisedConv2D(width, 3, gain=_HE), width + 1)]
        self.hidden = _built(
            EqualisedDense(width, gain=_HE), start[0] * start[1] * width
        )
        for width, narrower in pairs[1:]:
            self.convolutions += [
                _built(EqualisedConv2D(width, 3, gain=_HE), width),
                _built(EqualisedConv2D(narrower, 3, gain=_HE), width),
            ]
        self.inlets = [
            _built(EqualisedConv2D(width, 1, gain=_HE), inputs)
            for width in channels[first - 1 :]
        ]
        self.scores, self.logits = (
            _built(EqualisedDense(units, dtype="float32"), channels[0])
            for units in (1, classes)
        )
        self.built = True

    def parts(self, first, last):
        """Return the layers that `call` with these blocks uses."""
        inlets = self.inlets[first - self.first : last - self.first + 1]
        convolutions = self.convolutions[: 2 * last - 1]
        return (*convolutions, self.hidden, *inlets, self.scores, self.logits)

    def call(self, pictures, progress=None, first=None, last=None):
        """Return scores `[rows, 1]` and logits `[rows, classes]`.

        Args:
            pictures: `[rows, h, w, inputs]` at the resolution of block `last`.
            progress: As of `Generator.call`.
            first: The first block whose inlet is used; none: that has one.
            last: The last block; none: of all.
        """
        first, last = first or self.first, last or self.last
        x = self._inlet(last, pictures)
        for block in range(last, 1, -1):
            for convolution in self.convolutions[2 * block - 3 : 2 * block - 1]:
                x = _leaky_relu(convolution(x))
            x = box.shrink(x)
            if block > first:
                pictures = box.shrink(pictures)
                weight = keras.ops.cast(inlet_weight(block - 1, progress), x.dtype)
                x = weight * self._inlet(block - 1, pictures) + (1.0 - weight) * x
        x = _leaky_relu(self.convolutions[0](self.stddev(x)))
        x = keras.ops.reshape(x, [x.shape[0], math.prod(x.shape[1:])])
        x = _leaky_relu(self.hidden(x))
        return self.scores(x), self.logits(x)

    def _inlet(self, block, pictures):
        return _leaky_relu(self.inlets[block - self.first](pictures))


class Spread(EqualisedConv2D):
    """The convolution of one pixel with zeros around it: `[rows, n]` -> kernel_size."""

    def call(self, x):
        """Return `[rows, h, w, filters]`, with a bias a channel."""
        kernel = self.scaled_kernel(self.factor)
        return self.finish(keras.ops.einsum("rn,hwnc->rhwc", x, kernel))


def _built(layer, inputs):
    """Return a layer with its weights made, for so many input channels."""
    layer.build((None, inputs))
    return layer


def _leaky_relu(x):
    return keras.ops.leaky_relu(x, 0.2)
