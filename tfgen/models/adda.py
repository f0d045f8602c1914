"""Adversarial discriminative domain adaptation (Tzeng, Hoffman, Saenko, Darrell 2017).

A classifier of labelled source images is made to work on a target domain of which no
label is seen. Stage `source` trains encoder M_s and classifier C,

    min_{M_s, C}  E CE(C(M_s(x_s)), y_s),

stage `adapt` freezes both and trains a copy M_t of M_s against a discriminator,

    min_D    -E log D(M_s(x_s)) - E log(1 - D(M_t(x_t)))
    min_M_t  -E log D(M_t(x_t)),

and C(M_t(x_t)) is the adapted classifier. `dann` is the baseline of the paper's table:
one encoder for both domains and gradient reversal (Ganin and Lempitsky 2015).

D has two outputs and a softmax, as released; its logit is their difference. As in the
released code both updates of a step are simultaneous, of the same rows, and each loss
is a mean over source and target rows together, which halves the printed terms.

Paper and released code disagree on what D sees: `feature=logits` is the code, where
D judges the ten logits and M is the whole LeNet; `feature=fc3` is the text, where C is
the last layer, shared and frozen.

All losses are means over rows, so N replicas of B rows equal one device with N * B.
"""

import dataclasses

import keras
import tensorflow as tf

from tfgen.core import ema
from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput
from tfgen.core.model import GenerativeModel
from tfgen.core.schedules import Annealed
from tfgen.layers.reversal import reverse_gradient
from tfgen.losses import adversarial, classification, health
from tfgen.networks import dense

SHAPE = (28, 28, 1)  # of the images, in [0, 1]


@dataclasses.dataclass(frozen=True)
class LeNetConfig(Config):
    """Caffe's LeNet, with a ReLU after each convolution as in the released code."""

    channels: tuple[int, ...] = option((20, 50), "of the two convolutions")
    hidden: int = option(500, "units of fc3", at_least=1)


@dataclasses.dataclass(frozen=True)
class ADDAConfig(LeNetConfig):
    """The defaults are those of the released digit scripts."""

    feature: str = option(
        "logits", "what the discriminator sees", choices=("logits", "fc3")
    )
    judge: tuple[int, ...] = option((500, 500), "units of the discriminator's layers")
    source_steps: int = option(10_000, "updates of stage source", at_least=0)
    source_learning_rate: float = option(1e-3, "Adam, stage source", above=0)
    l2: float = option(2.5e-5, "of kernels' ||w||^2 / 2, stage source", at_least=0)
    learning_rate: float = option(2e-4, "Adam, stage adapt, both", above=0)


@dataclasses.dataclass(frozen=True)
class DANNConfig(LeNetConfig):
    """The schedules are those of Ganin and Lempitsky, the network is that of ADDA."""

    judge: tuple[int, ...] = option((100,), "units of the discriminator's layers")
    learning_rate: float = option(0.01, "SGD with momentum 0.9, at the start", above=0)
    schedule_steps: int = option(10_000, "updates until progress is 1", at_least=1)
    reversal: float = option(1.0, "weight of the reversed gradient at 1", at_least=0)


class ADDA(GenerativeModel):
    """One step is of stage `source` or of stage `adapt`, by its number.

    Args:
        config: `ADDAConfig`.
        spec: `source` and `target` images `[28, 28, 1]` in [0, 1], and the source's
            `label` with its classes.
        encoder: M_s, images -> features.
        classifier: C, features -> logits.
        target: M_t, a network like `encoder`.
        discriminator: features -> `[rows, 2]`; source is class 0.
    """

    Config = ADDAConfig
    PRESETS = {
        "paper": {},
        "small": {"source_steps": 1500},
        "tiny": {"channels": (2, 3), "hidden": 8, "judge": (8,), "source_steps": 1},
    }
    reports_health = True

    def __init__(self, config, spec, encoder, classifier, target, discriminator):
        images = keras.Input(spec.image.shape, name="images")
        features = encoder(images)
        source = keras.Model(images, classifier(features), name="source")
        super().__init__(
            config, spec, source=source, target=target, discriminator=discriminator
        )
        self.encoder, self.classifier = encoder, classifier
        ema.copy(encoder, target)

    @classmethod
    def create(cls, config, spec):
        """Build the networks for two domains, the first of them labelled."""
        spec = _domains(spec, "adda")
        encoders = [_encoder(config, config.feature, spec.num_classes) for _ in "st"]
        size = encoders[0].output.shape[1:]
        classifier = _classifier(config.feature, size, spec.num_classes)
        return cls(
            config, spec, encoders[0], classifier, encoders[1], _judge(config, size)
        )

    def default_optimizers(self):
        """Adam; beta_1 is 0.5 in stage `adapt`."""
        rate = self.config.learning_rate
        return {
            "source_optimizer": keras.optimizers.Adam(self.config.source_learning_rate),
            "target_optimizer": keras.optimizers.Adam(rate, beta_1=0.5),
            "discriminator_optimizer": keras.optimizers.Adam(rate, beta_1=0.5),
        }

    def stages(self):
        """Source training, then adaptation."""
        return {"source": self.config.source_steps, "adapt": None}

    def source_step(self, batch):
        """One descent of the cross-entropy; M_t stays equal to M_s."""
        _, parts = self.descend(
            self.source_loss,
            self.source,
            self.source_optimizer,
            batch["source"],
            batch["label"],
        )
        ema.copy(self.encoder, self.target)
        return self.track(**parts)

    def adapt_step(self, batch):
        """One descent of D and of M_t, by gradients taken before either has moved."""
        images = batch["source"], batch["target"]
        (_, reports), down = self.gradients(
            self.discriminator_loss, self.discriminator, *images
        )
        mapping, up = self.gradients(self.mapping_loss, self.target, images[1])
        self.apply(self.discriminator_optimizer, self.discriminator, down)
        self.apply(self.target_optimizer, self.target, up)
        return self.track(**reports, mapping_loss=mapping)

    def test_step(self, batch):
        """Return what held-out rows tell without a target label."""
        _, reports = self.discriminator_loss(batch["source"], batch["target"])
        _, parts = _cross_entropy(self.source(batch["source"]), batch["label"])
        right = [reports[f"health/{domain}_accuracy"] for domain in ("real", "fake")]
        return self.track(
            discriminator_loss=reports["discriminator_loss"],
            discriminator_accuracy=0.5 * tf.add_n(right),
            source_accuracy=parts["source_accuracy"],
        )

    def source_loss(self, images, labels):
        """Return the mean cross-entropy in nats with its L2 penalty, and reports."""
        loss, parts = _cross_entropy(self.source(images), labels)
        kernels = [v for v in self.source.trainable_variables if len(v.shape) > 1]
        penalty = tf.add_n([tf.nn.l2_loss(kernel.value) for kernel in kernels])
        return loss + self.config.l2 * penalty, parts

    def discriminator_loss(self, source, target):
        """Return D's cross-entropy over the rows of both domains, and reports."""
        logits = self.judge(self.encoder(source)), self.judge(self.target(target))
        loss = 0.5 * adversarial.minimax_discriminator_loss(*logits)
        return loss, {"discriminator_loss": loss, **health.of_judgement(*logits)}

    def mapping_loss(self, target):
        """Return the same with D's labels inverted, of the rows that M_t maps."""
        logits = self.judge(self.target(target))
        return 0.5 * adversarial.non_saturating_generator_loss(logits)

    def judge(self, features):
        """Return D's logit that features are of the source, `[rows, 1]`."""
        return _log_odds(self.discriminator(features))

    def classify(self, images):
        """Classify images of the target domain: C(M_t(x))."""
        return _answers(self.classifier, self.target(images))

    def classify_source(self, images):
        """Classify by the network of stage `source`: C(M_s(x))."""
        return _answers(self.classifier, self.encoder(images))

    def endpoints(self):
        """Return classify(images), classify_source(images)."""
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {
            "classify": (self.classify, [images]),
            "classify_source": (self.classify_source, [images]),
        }


class DANN(GenerativeModel):
    """Gradient reversal: one encoder, one descent of all networks a step.

        min_{M, C, D}  E CE(C(M(x_s)), y_s) + CE(D(R(M(x))), domain)

    R passes features on and multiplies their gradient by -w, with w growing as
    2 / (1 + exp(-10 p)) - 1 with the progress p of training.

    Args:
        config: `DANNConfig`.
        spec: as of `ADDA`.
        encoder: M, images of either domain -> features.
        classifier: C, features -> logits.
        discriminator: features -> `[rows, 2]`; source is class 0.
    """

    Config = DANNConfig
    PRESETS = {
        "paper": {},
        "small": {"schedule_steps": 4500},
        "tiny": {"channels": (2, 3), "hidden": 8, "judge": (8,), "schedule_steps": 4},
    }
    reports_health = True

    def __init__(self, config, spec, encoder, classifier, discriminator):
        super().__init__(
            config,
            spec,
            encoder=encoder,
            classifier=classifier,
            discriminator=discriminator,
        )

    @classmethod
    def create(cls, config, spec):
        """Build the networks for two domains, the first of them labelled."""
        spec = _domains(spec, "dann")
        encoder, size = _encoder(config, "fc3", spec.num_classes), [config.hidden]
        classifier = _classifier("fc3", size, spec.num_classes)
        return cls(config, spec, encoder, classifier, _judge(config, size))

    def default_optimizers(self):
        """SGD with momentum, its rate annealed with the progress of training."""
        rate = Annealed(self.config.learning_rate, self.config.schedule_steps)
        return {"optimizer": keras.optimizers.SGD(rate, momentum=0.9)}

    def train_step(self, batch):
        """One descent; D descends where the encoder ascends."""
        rows = batch["source"].shape[0]
        _, reports = self.descend(
            self.joint_loss,
            (self.encoder, self.classifier, self.discriminator),
            self.optimizer,
            batch["source"],
            batch["label"],
            batch["target"],
            tf.fill([rows], self.reversal()),
        )
        return self.track(**reports)

    def test_step(self, batch):
        """Return what held-out rows tell without a target label."""
        weight = tf.zeros([batch["source"].shape[0]])
        _, reports = self.joint_loss(
            batch["source"], batch["label"], batch["target"], weight
        )
        return self.track(
            **{n: reports[n] for n in ("discriminator_loss", "source_accuracy")}
        )

    def reversal(self):
        """Return w of this step."""
        step = tf.cast(self.step.value, tf.float32)
        progress = tf.minimum(step / self.config.schedule_steps, 1.0)
        return self.config.reversal * (2.0 / (1.0 + tf.exp(-10.0 * progress)) - 1.0)

    def joint_loss(self, source, labels, target, weight):
        """Return both cross-entropies, the second through the reversal; and reports."""
        ours, theirs = self.encoder(source), self.encoder(target)
        loss, parts = _cross_entropy(self.classifier(ours), labels)
        logits = [
            _log_odds(self.discriminator(reverse_gradient(features, weight)))
            for features in (ours, theirs)
        ]
        domain = 0.5 * adversarial.minimax_discriminator_loss(*logits)
        reports = {**parts, "discriminator_loss": domain}
        return loss + domain, {**reports, **health.of_judgement(*logits)}

    def classify(self, images):
        """Classify images of either domain."""
        return _answers(self.classifier, self.encoder(images))

    def endpoints(self):
        """Return classify(images)."""
        images = tf.TensorSpec([None, *self.spec.image.shape], name="images")
        return {"classify": (self.classify, [images])}


def _domains(spec, user):
    wanted = spec.for_domains(user, low=0.0, high=1.0, shape=SHAPE, also=["label"])
    if not wanted.num_classes:
        raise BadInput(f"{user} needs a labelled source; {spec.name} has no label")
    return wanted


def _encoder(config, feature, classes):
    """Return LeNet up to fc3, or up to its logits."""
    images = x = keras.Input(SHAPE, name="images")
    for channels in config.channels:
        x = keras.layers.Conv2D(channels, 5, activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(config.hidden, activation="relu")(x)
    if feature == "logits":
        x = keras.layers.Dense(classes, dtype="float32")(x)
    features = keras.layers.Activation("linear", dtype="float32")(x)
    return keras.Model(images, features, name="encoder")


def _classifier(feature, size, classes):
    """Return the layer above fc3; above the logits there is none."""
    features = keras.Input(size, name="features")
    if feature == "logits":
        same = keras.layers.Identity(dtype="float32")(features)
        return keras.Model(features, same, name="classifier")
    logits = keras.layers.Dense(classes, dtype="float32")(features)
    return keras.Model(features, logits, name="classifier")


def _judge(config, size):
    return dense.mlp(size, [[2]], config.judge, "relu", name="discriminator")


def _log_odds(outputs):
    """Return log p(source) - log p(target) of a softmax over two outputs."""
    return outputs[:, :1] - outputs[:, 1:]


def _cross_entropy(logits, labels):
    loss, reports = classification.cross_entropy(logits, labels)
    return loss, {f"source_{name}": value for name, value in reports.items()}


def _answers(classifier, features):
    return classification.answers(classifier(features), features)
