"""StyleGAN2's networks, config F (Karras et al. 2020).

A generator of two: the mapping turns a latent z into w, the synthesis makes an image of
2 log2(side) - 2 copies of w, which may differ. The discriminator is residual. Labels y
are one-hot, `[rows, classes]`, or left out.
"""

import math

import keras
import tensorflow as tf

from tfgen.core.errors import BadInput
from tfgen.layers.equalised import EqualisedConv2D, EqualisedDense
from tfgen.layers.minibatch_stddev import MinibatchStddev
from tfgen.layers.modulated import ModulatedConv2D
from tfgen.layers.pixel_norm import PixelNorm
from tfgen.layers.resampling import Blur2D, Downsample2D, Upsample2D


def _leaky_relu(x):
    return tf.nn.leaky_relu(x, 0.2)


# Unit variance stays near 1.
_ACTIVE = {"activation": _leaky_relu, "factor": math.sqrt(2.0)}


class Generator(keras.Model):
    """Mapping, synthesis, and the mean of w that truncation draws samples to.

    Args:
        mapping: z `[rows, latent_size]`, or (z, y) -> w `[rows, latent_size]`.
        synthesis: (w `[rows, copies, latent_size]`, noise `[rows, noise_size]`) ->
            images.
    """

    def __init__(self, mapping, synthesis):
        super().__init__(name="generator")
        self.mapping, self.synthesis = mapping, synthesis
        self.copies, self.latent_size = synthesis.inputs[0].shape[1:]
        self.noise_size = synthesis.inputs[1].shape[-1]
        self.noise_sides = noise_sides(synthesis.output.shape[1])
        self.w_average = self.add_weight(
            shape=[self.latent_size],
            initializer="zeros",
            dtype="float32",
            trainable=False,
            name="w_average",
        )
        self.built = True

    def to_w(self, z, y):
        """Return w `[rows, latent_size]` of z and [y], or [] without labels."""
        return self.mapping([z, *y] if y else z)

    def mix(self, first, second, uniforms, probability):
        """Return copies of w `[rows, copies, latent_size]`, of two w.

        Args:
            first: w `[rows, latent_size]` of the copies up to a random one.
            second: w of the copies from there on.
            uniforms: `[rows, 2]` on [0, 1): whether, and from which copy on, which is
                uniform on 1 ... copies - 1.
            probability: That it does.
        """
        place = 1.0 + tf.floor(uniforms[:, 1] * (self.copies - 1))
        place = tf.where(uniforms[:, 0] < probability, place, float(self.copies))
        is_second = tf.range(self.copies, dtype=tf.float32) >= place[:, None]
        return tf.where(is_second[..., None], second[:, None], first[:, None])

    def truncate(self, w, psi):
        """Return mean + psi (w - mean) of copies of w."""
        mean = self.w_average.value
        return mean + psi * (w - mean)


def generator(config, shape, classes):
    """Return the `Generator` of images of a shape; 0 classes: without labels.

    Raises:
        BadInput: They are not square with a side that is a power of 2.
    """
    height, width = shape[:2]
    if height != width or height < 8 or height & (height - 1):
        raise BadInput(
            f"images of {height}x{width} do not fit: this network takes square images "
            "whose side is a power of 2, from 8 on (set --hparam image_size=32, say)"
        )
    return Generator(mapping(config, classes), synthesis(config, shape))


def mapping(config, classes):
    """Return z `[rows, latent_size]`, or (z, y) -> w, of the same shape.

    Eight layers that learn at a hundredth of the rate, of z whose second moment is 1;
    y joins it through an affine map without bias.
    """
    size = config.latent_size
    inputs = [keras.Input([size], name="z")]
    x = inputs[0]
    if classes:
        inputs.append(keras.Input([classes], name="y"))
        # N(0, 1) as it is: the gain undoes the division by sqrt(classes).
        embed = EqualisedDense(
            size, use_bias=False, gain=math.sqrt(classes), dtype="float32"
        )
        x = keras.layers.Concatenate(dtype="float32")([x, embed(inputs[1])])
    x = PixelNorm(dtype="float32")(x)
    for _ in range(config.mapping_layers):
        dense = EqualisedDense(
            size, **_ACTIVE, rate=config.mapping_rate, dtype="float32"
        )
        x = dense(x)
    return keras.Model(inputs if classes else inputs[0], x, name="mapping")


def synthesis(config, shape):
    """Return w `[rows, copies, latent_size]`, noise -> images `[rows, h, w, c]`.

    Skip architecture: each resolution adds its image to that of the one below, doubled.
    Noise `[rows, n]` holds one number a pixel for each 3 x 3 convolution in turn.
    """
    stages, channels = int(math.log2(shape[0])), _channels(config)
    sides = noise_sides(shape[0])
    w = keras.Input([2 * stages - 2, config.latent_size], name="w")
    noise = keras.Input([sum(side**2 for side in sides)], name="noise")
    ends = [sum(side**2 for side in sides[: n + 1]) for n in range(len(sides) - 1)]
    parts = keras.ops.split(noise, ends, axis=1) if ends else [noise]
    maps = [
        keras.layers.Reshape([side, side, 1])(part)
        for part, side in zip(parts, sides, strict=True)
    ]
    style = keras.ops.unstack(w, axis=1)

    def layer(x, number, stage, up=False):
        convolution = ModulatedConv2D(
            channels(stage), 3, up=up, add_noise=config.pixel_noise, **_ACTIVE
        )
        return convolution([x, style[number], maps[number]])

    def to_image(x, number):
        convolution = ModulatedConv2D(shape[-1], 1, demodulate=False)
        return keras.layers.Activation("linear", dtype="float32")(
            convolution([x, style[number]])
        )

    x = layer(Constant([4, 4, channels(2)])(style[0]), 0, 2)
    image = to_image(x, 1)
    for stage in range(3, stages + 1):
        first = 2 * stage - 5
        x = layer(x, first, stage, up=True)
        x = layer(x, first + 1, stage)
        image = Upsample2D(dtype="float32")(image) + to_image(x, first + 2)
    return keras.Model([w, noise], image, name="synthesis")


def noise_sides(side):
    """Return the sides of the noise images of a synthesis, coarse ones first."""
    stages = range(3, int(math.log2(side)) + 1)
    return [4] + [2**stage for stage in stages for _ in "ab"]


def discriminator(config, shape, classes):
    """Return images, or (images, y) -> logits `[rows, 1]`; rows must be static.

    Residual blocks down to 4 x 4, then the batch's deviation as a further map.
    """
    stages, channels = int(math.log2(shape[0])), _channels(config)
    images = keras.Input(shape, name="images")
    x = EqualisedConv2D(channels(stages), 1, **_ACTIVE)(images)
    for stage in range(stages, 2, -1):
        y = EqualisedConv2D(channels(stage), 3, **_ACTIVE)(x)
        # (y + skip) / sqrt(2): y is active without sqrt(2), the other kernel has it.
        y = EqualisedConv2D(
            channels(stage - 1), 3, strides=2, padding="valid", activation=_leaky_relu
        )(Blur2D(padding=2)(y))
        skip = EqualisedConv2D(
            channels(stage - 1), 1, use_bias=False, gain=math.sqrt(0.5)
        )
        x = keras.layers.Add()([y, skip(Downsample2D()(x))])
    x = MinibatchStddev(config.group)(x)
    x = EqualisedConv2D(channels(2), 3, **_ACTIVE)(x)
    x = keras.layers.Flatten()(x)
    x = EqualisedDense(channels(2), **_ACTIVE)(x)
    logits = EqualisedDense(classes or 1, dtype="float32")(x)
    if not classes:
        return keras.Model(images, logits, name="discriminator")
    y = keras.Input([classes], name="y")
    logits = keras.ops.sum(logits * y, axis=-1, keepdims=True)
    return keras.Model([images, y], logits, name="discriminator")


class Constant(keras.layers.Layer):
    """A learned array of a shape, the same in each row; N(0, 1) at first."""

    def __init__(self, shape, **kwargs):
        super().__init__(**kwargs)
        self.shape = shape

    def build(self, shape):
        """Create the array."""
        self.value = self.add_weight(
            shape=self.shape,
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
            name="constant",
        )

    def call(self, rows):
        """Return it as often as `rows` has rows."""
        value = keras.ops.convert_to_tensor(self.value)
        return keras.ops.broadcast_to(
            value[None], [keras.ops.shape(rows)[0], *self.shape]
        )


def _channels(config):
    """Return a function: stage r, of 2^r pixels -> feature maps."""
    return lambda stage: min(config.channel_base >> (stage - 1), config.channel_max)
