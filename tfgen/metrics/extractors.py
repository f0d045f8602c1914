"""Feature extractors: uint8 images in, float64 features out, each with its digest.

Four kinds, none of which downloads anything:

- `pixels`: the image itself, flattened, in [-1, 1].
- `pca:N`: the first N principal components of the real training pixels.
- `saved_model:PATH`: the export folder of a classifier, with its logits.
- `keras:NAME:PATH`: a Keras application with weights from a local file.

An extractor is made for one image shape. Its digest covers weights AND
preprocessing: two numbers with different digests must never be compared.
"""

from __future__ import annotations

import abc
import hashlib
import json
import os
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA

from tfgen.core.errors import BadInput
from tfgen.core.spec import DataSpec, Feature, adapter
from tfgen.metrics.images import as_images, resize_to_rgb, resizing

KINDS = ("pixels", "pca:N", "saved_model:PATH", "keras:NAME:PATH")

# Keras applications: module, side in pixels, as published for their weights.
APPLICATIONS = {
    "DenseNet121": ("densenet", 224),
    "EfficientNetB0": ("efficientnet", 224),
    "InceptionV3": ("inception_v3", 299),
    "MobileNetV2": ("mobilenet_v2", 224),
    "ResNet50": ("resnet", 224),
    "VGG16": ("vgg16", 224),
    "Xception": ("xception", 299),
}

# Rows that a principal component analysis is fitted to, at most.
PCA_ROWS = 10_000


class Extracted(NamedTuple):
    """Features `[n, d]` and logits `[n, classes]` (None without a classifier)."""

    features: np.ndarray
    logits: np.ndarray | None


class Extractor(abc.ABC):
    """Turns images into features; carries what must be printed beside a number.

    Attributes:
      name: what the user typed or, for an application, what it really is.
      digest: 16 hexadecimal digits of a sha256 over weights and preprocessing.
      size: d, the number of features.
      image_shape: (h, w, c) of the images it was made for.
      resize: how images are brought to the network's size; "none" if they fit.
      preprocessing: range, channels and layer, in words.
      has_logits: whether `logits` works.
      classes: names of the classes of the logits, () where they are not known.
      default_batch: images at a time when the caller does not say.
    """

    name: str
    digest: str
    size: int
    image_shape: tuple[int, int, int]
    resize: str = "none"
    preprocessing: str
    has_logits: bool = False
    classes: tuple[str, ...] = ()
    default_batch: int = 256

    @abc.abstractmethod
    def extract_batch(self, images: np.ndarray) -> Extracted:
        """Features and logits of uint8 images `[rows, h, w, c]` of the right shape."""

    @abc.abstractmethod
    def features_of(self, images):
        """Features of tensors, by operations that have a gradient.

        Args:
          images: float32 `[rows, h, w, c]` in bytes' units, 0..255, not rounded.

        Returns:
          float32 `[rows, d]`.
        """

    def extract(self, images, batch: int | None = None) -> Extracted:
        """Features and logits of uint8 images `[n, h, w, c]`, in one pass.

        Args:
          images: uint8, of the shape that the extractor was made for.
          batch: images at a time; None: `default_batch`.

        Returns:
          Both as float64; logits None without a classifier.

        Raises:
          BadInput: not uint8 images, or of another shape.
        """
        images = as_images(images)
        if images.shape[1:] != self.image_shape:
            raise BadInput(
                f"the extractor {self.name} was made for images of "
                f"{self.image_shape}, these are {images.shape[1:]}"
            )
        batch = batch or self.default_batch
        parts = [
            self.extract_batch(images[first : first + batch])
            for first in range(0, len(images), batch)
        ]
        features = np.concatenate([part.features for part in parts])
        logits = None
        if self.has_logits:
            logits = np.concatenate([part.logits for part in parts]).astype(np.float64)
        return Extracted(features.astype(np.float64), logits)

    def __call__(self, images, batch: int | None = None) -> np.ndarray:
        """Features `[n, d]`, float64; arguments and errors as `extract`."""
        return self.extract(images, batch).features

    def logits(self, images, batch: int | None = None) -> np.ndarray:
        """Logits `[n, classes]`, float64; arguments and errors as `extract`.

        Raises:
          BadInput: the extractor is no classifier.
        """
        if not self.has_logits:
            raise BadInput(
                f"the extractor {self.name} gives no logits: "
                "use saved_model:PATH with an exported classifier"
            )
        return self.extract(images, batch).logits

    def describe(self) -> dict:
        """What must be recorded with every number, ready for JSON."""
        return {
            "extractor": self.name,
            "digest": self.digest,
            "size": self.size,
            "resize": self.resize,
            "preprocessing": self.preprocessing,
        }

    def _seal(self, *parts) -> None:
        """Set the digest from `parts` (bytes or text), resize and preprocessing."""
        digest = hashlib.sha256()
        words = self.resize, self.preprocessing, str(self.image_shape)
        for part in (*parts, *words):
            data = part.encode() if isinstance(part, str) else part
            # The length keeps ("ab", "c") and ("a", "bc") apart.
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
        self.digest = digest.hexdigest()[:16]


class PixelExtractor(Extractor):
    """The flattened image, `x / 127.5 - 1`, `[n, h*w*c]` in [-1, 1]."""

    name = "pixels"
    preprocessing = "flattened, scaled to [-1, 1]"

    def __init__(self, images):
        self.image_shape = as_images(images).shape[1:]
        self.size = int(np.prod(self.image_shape))
        self._seal(self.name)

    def extract_batch(self, images):
        """See `Extractor`."""
        return Extracted(_flat(images), None)

    def features_of(self, images):
        """See `Extractor`."""
        return _flat_tensor(images)


class PCAExtractor(Extractor):
    """Scores on the first N principal components of real training pixels.

        features = (x - mean) W^T,   W [N, h*w*c] orthonormal, x in [-1, 1]

    Not whitened: distances keep the unit of pixels. Fitted to at most 10,000 rows
    drawn with a fixed seed. The digest is over mean and W rounded to four decimals,
    which hides the last bits in which linear algebra differs between machines.

    Args:
      components: N.
      images: uint8 `[n, h, w, c]`, the real training images.

    Raises:
      BadInput: N is not in 1 .. min(rows, h*w*c).
    """

    def __init__(self, components: int, images):
        images = as_images(images)
        random = np.random.default_rng(0)
        if len(images) > PCA_ROWS:
            images = images[random.choice(len(images), PCA_ROWS, replace=False)]
        self.image_shape = images.shape[1:]
        most = min(len(images), int(np.prod(self.image_shape)))
        if not 1 <= components <= most:
            raise BadInput(
                f"pca:{components}: choose 1 to {most} components for {len(images)} "
                f"images of {self.image_shape}"
            )
        self.name = f"pca:{components}"
        self.size = components
        self.pca = PCA(n_components=components, random_state=0).fit(_flat(images))
        self.preprocessing = (
            f"flattened, scaled to [-1, 1], {components} principal components of "
            f"{len(images)} real training images, not whitened"
        )
        rounded = [
            np.round(part, 4).astype(np.float32) + 0.0  # -0.0 and 0.0 are one number
            for part in (self.pca.mean_, self.pca.components_)
        ]
        self._seal("pca", *(part.tobytes() for part in rounded))

    def extract_batch(self, images):
        """See `Extractor`."""
        return Extracted(self.pca.transform(_flat(images)), None)

    def features_of(self, images):
        """See `Extractor`."""
        mean, axes = (
            part.astype(np.float32) for part in (self.pca.mean_, self.pca.components_)
        )
        return (_flat_tensor(images) - mean) @ axes.T


class SavedModelExtractor(Extractor):
    """Penultimate features and logits of an exported classifier.

    The folder holds a SavedModel whose signature `classify` maps one image tensor
    to `logits` and `features`, and a `tfgen.json` whose `spec` describes that tensor
    (shape, low, high). Images are cropped, padded, resized and scaled to it by
    `tfgen.core.spec.adapter`, as in a training that asked for no image_size.
    Needs TensorFlow's loader alone, not the classifier's code.

    Args:
      path: the export folder.
      images: uint8 `[n, h, w, c]`, any real images of the shape to come.

    Raises:
      BadInput: no such export, no `classify` signature, or no image in its spec.
    """

    has_logits = True

    def __init__(self, path: str, images):
        _check_export(path)
        wanted, self.classes = _described(os.path.join(path, "tfgen.json"))
        import tensorflow as tf  # the extractors above work without it

        self._model = tf.saved_model.load(path)  # its variables must stay referenced
        signatures = self._model.signatures
        if "classify" not in signatures:
            raise BadInput(
                f"saved_model:{path}: no signature 'classify' among "
                f"{', '.join(sorted(signatures)) or 'none'}: export a classifier"
            )
        self._classify = signatures["classify"]
        arguments = self._classify.structured_input_signature[1]
        outputs = self._classify.structured_outputs
        if len(arguments) != 1 or not {"logits", "features"} <= set(outputs):
            raise BadInput(
                f"saved_model:{path}: 'classify' must map one image to logits and "
                f"features, it maps {sorted(arguments)} to {sorted(outputs)}"
            )
        (self._argument,) = arguments
        shape = as_images(images).shape[1:]
        self.image_shape = shape
        self._adapt, line = adapter(
            _one_image("the real images", Feature(shape, "uint8", 0.0, 255.0)),
            _one_image(f"saved_model:{path}", wanted),
        )
        self.name = f"saved_model:{path}"
        self.resize = line if wanted.shape != shape else "none"
        self.preprocessing = f"{line}; signature classify"
        self._seal("saved_model", *_saved_model_parts(path))
        self.size = int(self.extract(images[:1]).features.shape[1])

    def extract_batch(self, images):
        """See `Extractor`."""
        import tensorflow as tf

        adapted = self._adapt({"image": tf.constant(images)})["image"]
        outputs = self._classify(**{self._argument: adapted})
        features = outputs["features"].numpy()
        return Extracted(features.reshape(len(features), -1), outputs["logits"].numpy())

    def features_of(self, images):
        """See `Extractor`."""
        import tensorflow as tf

        adapted = self._adapt({"image": images})["image"]
        features = self._classify(**{self._argument: adapted})["features"]
        return tf.reshape(features, [images.shape[0], -1])


class KerasExtractor(Extractor):
    """Penultimate features of a Keras application with weights from a local file.

    A file with the classification layer gives logits as well; one without
    ("notop") gives the averaged features alone. These are Keras' weights and Keras'
    preprocessing: InceptionV3's numbers are not those of the FID network.

    Args:
      application: a key of `APPLICATIONS`.
      weights: path of the weights file, as Keras distributes it.
      images: uint8 `[n, h, w, c]`, any real images of the shape to come.

    Raises:
      BadInput: unknown application, no such file, or weights that do not fit.
    """

    default_batch = 32  # early layers at 299 px take 6 MB an image each

    def __init__(self, application: str, weights: str, images):
        _check_weights(application, weights)
        module_name, side = APPLICATIONS[application]
        self._side = side
        self.image_shape = as_images(images).shape[1:]
        self.resize = resizing(self.image_shape, side)
        self._network, self.has_logits = _application(application, weights)

        import keras

        module = getattr(keras.applications, module_name)
        self._preprocess = module.preprocess_input
        self.size = int(self._network.output["features"].shape[-1])
        note = ", not FID's network" if application == "InceptionV3" else ""
        self.name = f"keras {application}{note}"
        self.preprocessing = (
            f"keras.applications.{module_name}.preprocess_input at {side}x{side}, "
            + ("penultimate layer" if self.has_logits else "global average pooling")
        )
        weights = (v.value.numpy().tobytes() for v in self._network.variables)
        self._seal("keras", application, *weights)

    def extract_batch(self, images):
        """See `Extractor`."""
        fitted = resize_to_rgb(images, self._side)
        outputs = self._network(self._preprocess(fitted), training=False)
        logits = outputs["logits"].numpy() if self.has_logits else None
        return Extracted(outputs["features"].numpy(), logits)

    def features_of(self, images):
        """See `Extractor`."""
        import tensorflow as tf

        if images.shape[1:3] != (self._side, self._side):
            side = [self._side, self._side]
            images = tf.image.resize(images, side, "bilinear", antialias=True)
        if images.shape[3] == 1:
            images = tf.repeat(images, 3, axis=3)
        return self._network(self._preprocess(images), training=False)["features"]


def _application(application, weights):
    """The network to features and, if the file has them, logits; has it logits?"""
    import keras

    build = getattr(keras.applications, application)
    # With its top first: a file that has one would fit a network without as well.
    for top in ({"include_top": True, "classifier_activation": None}, None):
        try:
            with warnings.catch_warnings():
                # Keras only warns when layers keep their random initial weights.
                warnings.simplefilter("error", UserWarning)
                if top:
                    whole = build(weights=weights, **top)
                    outputs = {
                        "features": whole.layers[-1].input,
                        "logits": whole.output,
                    }
                    return keras.Model(whole.input, outputs), True
                body = build(weights=weights, include_top=False, pooling="avg")
                return keras.Model(body.input, {"features": body.output}), False
        except (ValueError, OSError, UserWarning) as error:
            reason = str(error).splitlines()[0]
    raise BadInput(f"keras:{application}:{weights}: the weights do not fit: {reason}")


def _one_image(name, feature):
    return DataSpec(name, 0, {"image": feature})


def _described(file):
    """The image an export's tfgen.json says its model wants, the classes it tells."""
    try:
        with open(file, encoding="utf-8") as stream:
            features = json.load(stream)["spec"]["features"]
        image = features["image"]
        classes = tuple(features.get("label", {}).get("classes", ()))
        return Feature(
            image["shape"], "float32", float(image["low"]), float(image["high"])
        ), classes
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{file}: needs spec.features.image with shape, low and high ({error!r})"
        ) from error


def _saved_model_parts(path):
    """Names and bytes of the graph and the weights, in a fixed order."""
    yield from ("saved_model.pb", _read(os.path.join(path, "saved_model.pb")))
    folder = os.path.join(path, "variables")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        yield name
        yield _read(os.path.join(folder, name))


def _read(file):
    with open(file, "rb") as stream:
        return stream.read()


def _flat(images):
    return images.reshape(len(images), -1) / 127.5 - 1.0


def _flat_tensor(images):
    import tensorflow as tf

    return tf.reshape(images, [images.shape[0], -1]) / 127.5 - 1.0


def extractor(name: str, real_images) -> Extractor:
    """Make the extractor called `name` for images like `real_images`.

    Args:
      name: `pixels`, `pca:N`, `saved_model:PATH` or `keras:NAME:PATH`.
      real_images: uint8 `[n, h, w, c]`, the real TRAINING images: they fix the
        shape, and `pca:N` is fitted to them.

    Returns:
      The extractor; calling it on uint8 images gives features `[n, d]`.

    Raises:
      BadInput: a bad name, path, or images; one line with the choices.
    """
    check(name)
    kind, _, rest = name.partition(":")
    if kind == "pixels":
        return PixelExtractor(real_images)
    if kind == "pca":
        return PCAExtractor(int(rest), real_images)
    if kind == "saved_model":
        return SavedModelExtractor(rest, real_images)
    application, _, weights = rest.partition(":")
    return KerasExtractor(application, weights, real_images)


def check(name: str) -> None:
    """Refuse a name that no images could make an extractor of.

    Args:
      name: see `extractor`.

    Raises:
      BadInput: a bad name, or there is nothing at its path; one line with the choices.
    """
    kind, _, rest = name.partition(":")
    if kind == "saved_model" and rest:
        _check_export(rest)
    elif kind == "keras" and ":" in rest:
        application, _, weights = rest.partition(":")
        _check_weights(application, weights)
    elif not (name == "pixels" or kind == "pca" and rest.isascii() and rest.isdigit()):
        raise BadInput(f"extractor {name!r}: choose one of {', '.join(KINDS)}")


def _check_export(path):
    for name in ("saved_model.pb", "tfgen.json"):
        if not os.path.isfile(os.path.join(path, name)):
            raise BadInput(
                f"saved_model:{path}: no {name} there; give the export folder of a "
                "classifier run"
            )


def _check_weights(application, weights):
    if application not in APPLICATIONS:
        raise BadInput(f"keras:{application}: choose one of {', '.join(APPLICATIONS)}")
    if not os.path.isfile(weights):
        raise BadInput(
            f"keras:{application}:{weights}: no such file; give a local path, "
            "nothing is downloaded"
        )
