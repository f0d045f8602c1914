"""The networks of Balaji et al. 2019: clips frame by frame, judged by filters of text.

Residual blocks without normalisation, x + conv(LeakyReLU(x)). At 64 pixels and 16
frames, 32 channels, these are the published networks; other sizes, powers of 2, have
more or fewer of the blocks in the middle.

Each function takes the Config of its model (latent_size, channels,
generator_channels, coordinates, filters, text_size, judge_size, clip_patch) and the
shape of a clip.
"""

import keras

from tfgen.core.errors import BadInput
from tfgen.layers import volumes
from tfgen.layers.coordinates import AtCoordinates
from tfgen.layers.dynamic_filters import DynamicFilters
from tfgen.layers.recurrence import GRU
from tfgen.networks.text import Judge

LEAK = 0.2


def generator(config, shape):
    """Return [content z, start h, steps eps, y_content, y_motion] -> clips in [-1, 1].

    A GRU turns each frame's noise and y_motion, `[rows, frames, size]`, into the
    frame's code; [z, y_content, code] makes the frame. Sentence vectors come for each
    frame, so that they may change on the way.
    """
    frames, size, _, channels = checked(config, shape)
    latent, text = config.latent_size, config.text_size
    width = config.generator_channels
    content = keras.Input([latent], name="content")
    start = keras.Input([latent], name="start")
    steps = keras.Input([frames, latent], name="steps")
    y_content = keras.Input([frames, text], name="y_content")
    y_motion = keras.Input([frames, text], name="y_motion")
    codes = GRU(latent)([_beside([steps, y_motion]), start])
    repeated = keras.layers.RepeatVector(frames)(content)
    x = _fold(_beside([repeated, y_content, codes]))
    if config.coordinates:
        x = _active(keras.layers.Dense(8 * width)(x))
        side = size // 4
        x = _active(AtCoordinates(4 * width, side)(x))
        x = keras.layers.Conv2D(4 * width, 1)(x)
        x = _block(keras.layers.Conv2D, x, 4 * width)
    else:
        x = keras.layers.Dense(4 * 8 * width)(x)
        x = keras.layers.Reshape([2, 2, 8 * width])(x)
        side = 2
        x = _block(keras.layers.Conv2D, x, 8 * width)
    while side < size:
        side *= 2
        x = keras.layers.UpSampling2D(2)(x)
        x = _block(keras.layers.Conv2D, x, min(4, size // side) * width)
    # From grey: as other layers start, a third of the values would saturate the tanh.
    grey = keras.initializers.VarianceScaling(0.01)
    last = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer=grey)
    x = last(_active(x))
    images = keras.layers.Activation("tanh", dtype="float32")(x)
    clips = _unfold(images, frames)
    inputs = [content, start, steps, y_content, y_motion]
    return keras.Model(inputs, clips, name="generator")


def frame_judge(config, shape, *, filtered=True):
    """Return the `Judge` of frames: a logit each, `[rows, frames]`.

    Text: [filters of stage 1, of stage 2, sentence vector], the filters
    `[rows, 1, 5, 5, filters, filters]`; not `filtered`: the sentence vector alone.
    """
    frames = checked(config, shape)[0]
    clips = keras.Input(shape, name="clips")
    x = _fold(clips)
    features = _features(keras.layers.Conv2D, config, x)
    features = features if filtered else features[-1:]
    trunk = keras.Model(clips, features, name="trunk")
    given = [keras.Input(x.shape[1:]) for x in features]
    text, scores = [], []
    if filtered:
        for x in given[:-1]:
            filters = keras.Input([1, 5, 5, config.filters, config.filters])
            x = _unfold(keras.layers.Conv2D(config.filters, 1)(x), frames)
            x = _fold(DynamicFilters()([x, filters]))
            side = x.shape[1]
            first = 4 if side > 8 else side // 4
            x = keras.layers.AveragePooling2D(first)(x) if first > 1 else x
            x = keras.layers.Conv2D(config.filters, 3, padding="same")(x)
            x = keras.layers.AveragePooling2D(x.shape[1] // 2)(keras.layers.ReLU()(x))
            x = keras.layers.Conv2D(config.judge_size, 2)(x)
            scores.append(keras.layers.Flatten()(x))
            text.append(filters)
    y = keras.Input([config.text_size])
    repeated = _fold(keras.layers.RepeatVector(frames)(y))
    scores.append(_last_stage(config, given[-1], repeated))
    logits = _score(scores)
    logits = keras.layers.Reshape([frames], dtype="float32")(_unfold(logits, frames))
    return Judge(
        trunk, keras.Model([*given, *text, y], logits, name="head"), "frame_judge"
    )


def clip_judge(config, shape, *, filtered=True):
    """Return the `Judge` of clips: one logit, `[rows, 1]`; as `frame_judge` in space.

    Filters are `[rows, 3, 5, 5, filters, filters]`.
    """
    checked(config, shape)
    clips = keras.Input(shape, name="clips")
    features = _features(volumes.Conv3D, config, clips, config.clip_patch)
    features = features if filtered else features[-1:]
    trunk = keras.Model(clips, features, name="trunk")
    given = [keras.Input(x.shape[1:]) for x in features]
    text, scores = [], []
    # The second is padded by 2 on all axes as in the released code: time grows by 2.
    for x, padding in zip(given[:-1], ((1, 2, 2), (2, 2, 2)), strict=False):
        filters = keras.Input([3, 5, 5, config.filters, config.filters])
        x = volumes.Conv3D(config.filters, 1)(x)
        x = DynamicFilters(padding)([x, filters])
        frames, side = x.shape[1:3]
        first = 4 if side > 8 else side // 4
        x = keras.layers.AveragePooling3D((min(2, frames), first, first))(x)
        x = keras.layers.ReLU()(volumes.Conv3D(config.filters, 3, padding="same")(x))
        frames, side = x.shape[1:3]
        # An odd frame is left over.
        last = max(1, frames - frames % 2)
        x = keras.layers.AveragePooling3D((last, side // 2, side // 2))(x)
        x = volumes.Conv3D(config.judge_size, (1, 2, 2))(x)
        scores.append(keras.layers.Flatten()(x))
        text.append(filters)
    y = keras.Input([config.text_size])
    scores.append(_last_stage(config, given[-1], y))
    return Judge(
        trunk,
        keras.Model([*given, *text, y], _score(scores), name="head"),
        "clip_judge",
    )


def checked(config, shape):
    """Return the shape of a clip; BadInput where these networks do not take it."""
    frames, height, width, _ = shape
    least = 16 * config.clip_patch
    if height != width or height < least or height & (height - 1) or frames < 4:
        raise BadInput(
            f"clips of {frames} frames of {height}x{width} do not fit: this network "
            f"takes 4 frames or more, square, with a side of {least}, {2 * least}, "
            f"{4 * least}, ... pixels (set --hparam image_size={2 * least}, say)"
        )
    return shape


def _features(convolution, config, x, patch=1):
    """Return features at stages 1, 2 and 3: sides size / 2, 8 (or 4) and 2.

    With `patch` 2 the squares of 2 pixels become pixels of 4 times the channels
    before all else: a quarter of the work.
    """
    width, size = config.channels, x.shape[-2] // patch
    if patch > 1:
        x = _patches(x, patch)
    x = convolution(width, 3, padding="same")(x)
    second = min(8, size // 4)
    x = _block(convolution, x, 2 * width)
    x = features = _block(convolution, _halved(x, time=True), 4 * width)
    stages = [features]
    side = size // 2
    while side > second:
        side //= 2
        x = _block(convolution, _halved(x, time=side == second), 4 * width)
    stages.append(x)
    while side > 2:
        side //= 2
        # All frames that are left become one at the end, without zeros around.
        x = _halved(x, time=True, ends=side == 2)
        x = _block(convolution, x, 8 * width)
    return [*stages, x]


def _halved(x, *, time, ends=False):
    """Average pooling of 3, stride 2, zeros counted; in time where asked and left."""
    if len(x.shape) == 4:
        return keras.layers.AveragePooling2D(3, 2)(keras.layers.ZeroPadding2D(1)(x))
    frames = x.shape[1]
    if ends:
        x = keras.layers.ZeroPadding3D((0, 1, 1))(x)
        return keras.layers.AveragePooling3D((frames, 3, 3), (frames, 2, 2))(x)
    if not time or frames == 1:
        x = keras.layers.ZeroPadding3D((0, 1, 1))(x)
        return keras.layers.AveragePooling3D((1, 3, 3), (1, 2, 2))(x)
    return keras.layers.AveragePooling3D(3, 2)(keras.layers.ZeroPadding3D(1)(x))


def _patches(x, side):
    """Return `[..., h, w, c]` as `[..., h / side, w / side, side side c]`."""
    *lead, height, width, channels = x.shape[1:]
    x = keras.ops.reshape(
        x, [-1, *lead, height // side, side, width // side, side, channels]
    )
    axes = list(range(len(x.shape)))
    axes[-4], axes[-3] = axes[-3], axes[-4]
    x = keras.ops.transpose(x, axes)
    shape = [height // side, width // side, side * side * channels]
    return keras.ops.reshape(x, [-1, *lead, *shape])


def _block(convolution, x, width):
    """Return x + conv(LeakyReLU(x)); x by a 1x1 convolution where the width changes."""
    y = convolution(width, 3, padding="same")(_active(x))
    if x.shape[-1] != width:
        x = convolution(width, 1, use_bias=False)(x)
    return keras.layers.Add()([x, y])


def _last_stage(config, features, y):
    x = _beside([keras.layers.Flatten()(features), y])
    return keras.layers.Dense(config.judge_size)(_active(x))


def _score(scores):
    x = _beside(scores) if len(scores) > 1 else scores[0]
    return keras.layers.Dense(1, dtype="float32")(_active(x))


def _active(x):
    return keras.layers.LeakyReLU(LEAK)(x)


def _beside(several):
    return keras.layers.Concatenate()(several)


def _fold(x):
    """Return `[rows, frames, ...]` as `[rows frames, ...]`."""
    return keras.ops.reshape(x, [-1, *x.shape[2:]])


def _unfold(x, frames):
    return keras.ops.reshape(x, [-1, frames, *x.shape[1:]])
