"""The same training steps without tfgen's core: by hand, and under plain Keras fit.

Each twin trains the networks of a model made for it, with a Keras optimizer of its
own, from the same data and the same noise function. Nothing of `GenerativeModel` is
used but its networks and `Config`.
"""

import keras
import tensorflow as tf

from tfgen.core import noise
from tfgen.core.errors import BadInput

# Networks that an optimizer trains, by the names of `GenerativeModel.state`.
TRAINED = {
    "vae": {"optimizer": ("encoder", "decoder")},
    "wgan_gp": {
        "critic_optimizer": ("critic",),
        "generator_optimizer": ("generator",),
    },
    "dcgan": {
        "discriminator_optimizer": ("discriminator",),
        "generator_optimizer": ("generator",),
    },
}
WRITTEN_FOR = {
    "vae": {
        "likelihood": "bernoulli",
        "pixels": "grey",
        "networks": "dense",
        "samples": 1,
        "beta": 1.0,
        "warmup_steps": 0,
        "free_bits": 0.0,
        "stages": 1,
    },
    "wgan_gp": {"warm_steps": 0},
    "dcgan": {
        "loss": "non_saturating",
        "discriminator_steps": 1,
        "r1_weight": 0.0,
        "r2_weight": 0.0,
    },
}


def check(name, config, written_for):
    """Refuse models and hparams that no twin is written for.

    Args:
        name: Of the model.
        config: Of the model.
        written_for: {model: {field: value}}.
    """
    if name not in written_for:
        raise BadInput(f"no twin of {name!r}; valid: {', '.join(written_for)}")
    for field, value in written_for[name].items():
        if getattr(config, field) != value:
            raise BadInput(f"the twin of {name} is written for {field}={value}")


def unit(images):
    """Bytes to [0, 1]."""
    return tf.cast(images, tf.float32) / 255.0


def symmetric(images):
    """Bytes to [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def vae_loss(encoder, decoder, images, epsilon):
    """Return -ELBO and its parts, as in `tfgen.models.vae`, written out."""
    mean, log_variance = encoder(images, training=True)
    z = mean + tf.exp(0.5 * log_variance) * epsilon
    logits = decoder(z, training=True)
    terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits)
    log_likelihood = -tf.reduce_mean(tf.reduce_sum(terms, axis=[1, 2, 3]))
    terms = tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance
    kl = tf.reduce_mean(0.5 * tf.reduce_sum(terms, axis=1))
    elbo = log_likelihood - kl
    return -elbo, {"elbo": elbo, "log_likelihood": log_likelihood, "kl": kl}


def critic_loss(generator, critic, weight, real, z, mix):
    """Return the loss of `wgan_gp`'s critic and its parts, written out."""
    fake = generator(z, training=True)
    scores = critic(tf.concat([real, fake], axis=0), training=True)
    real_scores, fake_scores = tf.split(scores, 2)
    estimate = tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores)
    between = fake + mix * (real - fake)
    with tf.GradientTape() as tape:
        tape.watch(between)
        scores = critic(between)
    slopes = tape.gradient(scores, between)
    norm = tf.sqrt(tf.reduce_sum(tf.square(slopes), axis=[1, 2, 3]) + 1e-12)
    penalty = tf.reduce_mean(tf.square(norm - 1.0))
    parts = {"wasserstein_estimate": estimate, "gradient_penalty": penalty}
    return -estimate + weight * penalty, parts


def generator_loss(generator, critic, z):
    """Return the loss of `wgan_gp`'s generator."""
    return -tf.reduce_mean(critic(generator(z, training=True), training=True))


def discriminator_loss(generator, discriminator, real, z):
    """Return the loss of `dcgan`'s discriminator, written out."""
    fake = generator(z, training=True)
    real, fake = (discriminator(images, training=True) for images in (real, fake))
    return tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(fake))


def non_saturating_loss(generator, discriminator, z):
    """Return the loss of `dcgan`'s generator, written out."""
    logits = discriminator(generator(z, training=True), training=True)
    return tf.reduce_mean(tf.nn.softplus(-logits))


class Bare:
    """A training step as one would write it by hand for one device.

    Args:
        name: One of `TRAINED`.
        model: Whose networks are trained; its own machinery is not used.
        batch: Rows of an update.
        xla: Compile loss and gradients of every update.
        whole: Compile the optimizer's update with them.
    """

    def __init__(self, name, model, batch, xla, whole=False):
        self.config, self.batch = model.config, batch
        self.networks = dict(model.networks)
        self.xla, self.whole = xla, whole
        self.seed = model.seed
        self.step = tf.Variable(0, dtype=tf.int64)
        self.optimizers = model.default_optimizers()
        for optimizer, names in TRAINED[name].items():
            self.optimizers[optimizer].build(self._variables(names))
        self.train_function = tf.function(self.step_of(name), autograph=False)

    def step_of(self, name):
        """Return a function of an iterator that runs one step."""
        return {"vae": self._vae, "wgan_gp": self._wgan_gp, "dcgan": self._dcgan}[
            name
        ]()

    def _variables(self, names):
        return [v for n in names for v in self.networks[n].trainable_variables]

    def state(self):
        """Return {name: keras variable} as `GenerativeModel.state`, less the step."""
        return {
            f"{name}/{position:03d}.{variable.name}": variable
            for name, owner in {**self.networks, **self.optimizers}.items()
            for position, variable in enumerate(owner.variables)
        }

    def _draw(self, purpose, shape, draw=noise.normal):
        return draw(self.seed, self.step, purpose, self.batch, shape)

    def _update(self, loss_fn, names, optimizer):
        """Return a function of the loss's inputs that does one update."""
        variables = self._variables(names)
        optimizer = self.optimizers[optimizer]

        def gradients(*inputs):
            with tf.GradientTape() as tape:
                returned = loss_fn(*inputs)
                loss = returned[0] if isinstance(returned, tuple) else returned
            return returned, tape.gradient(loss, variables)

        def update(*inputs):
            returned, found = gradients(*inputs)
            optimizer.apply(found, variables)
            return returned

        if self.whole:
            return tf.function(update, jit_compile=self.xla, autograph=False)
        gradients = tf.function(gradients, jit_compile=self.xla, autograph=False)
        return update

    def _vae(self):
        encoder, decoder = self.networks["encoder"], self.networks["decoder"]
        update = self._update(
            lambda images, epsilon: vae_loss(encoder, decoder, images, epsilon),
            ("encoder", "decoder"),
            "optimizer",
        )

        def step(iterator):
            images = unit(next(iterator)["image"])
            epsilon = self._draw("epsilon", [self.config.latent_size])
            _, parts = update(images, epsilon)
            self.step.assign_add(1)
            return parts

        return step

    def _wgan_gp(self):
        config = self.config
        generator, critic = self.networks["generator"], self.networks["critic"]
        update_critic = self._update(
            lambda *inputs: critic_loss(
                generator, critic, config.penalty_weight, *inputs
            ),
            ("critic",),
            "critic_optimizer",
        )
        update_generator = self._update(
            lambda z: generator_loss(generator, critic, z),
            ("generator",),
            "generator_optimizer",
        )
        latent = [config.latent_size]

        def step(iterator):
            images = symmetric(next(iterator)["image"])
            for number, real in enumerate(tf.split(images, config.critic_steps)):
                z = self._draw(f"critic_z/{number}", latent)
                mix = self._draw(f"mix/{number}", [1, 1, 1], noise.uniform)
                _, parts = update_critic(real, z, mix)
            loss = update_generator(self._draw("z", latent))
            self._move_average()
            self.step.assign_add(1)
            return {**parts, "generator_loss": loss}

        return step

    def _dcgan(self):
        generator = self.networks["generator"]
        discriminator = self.networks["discriminator"]
        update_discriminator = self._update(
            lambda real, z: discriminator_loss(generator, discriminator, real, z),
            ("discriminator",),
            "discriminator_optimizer",
        )
        update_generator = self._update(
            lambda z: non_saturating_loss(generator, discriminator, z),
            ("generator",),
            "generator_optimizer",
        )

        def latents(purpose):
            size = [self.config.latent_size]
            if self.config.latent == "normal":
                return self._draw(purpose, size)
            return 2.0 * self._draw(purpose, size, noise.uniform) - 1.0

        def step(iterator):
            real = symmetric(next(iterator)["image"])
            loss = update_discriminator(real, latents("discriminator_z/0"))
            found = {"discriminator_loss": loss}
            found["generator_loss"] = update_generator(latents("z"))
            self._move_average()
            self.step.assign_add(1)
            return found

        return step

    def _move_average(self):
        average, network = (
            self.networks.get(name) for name in ("generator_ema", "generator")
        )
        if average is None:
            return
        share = 1.0 - self.config.average_decay
        for old, new in zip(
            average.trainable_variables, network.trainable_variables, strict=True
        ):
            old.assign_add(share * (new.value - old.value))
        for old, new in zip(
            average.non_trainable_variables,
            network.non_trainable_variables,
            strict=True,
        ):
            old.assign(new.value)


class KerasModel(keras.Model):
    """An idiomatic Keras model: a `train_step`, metrics, plain `compile` and `fit`.

    Args:
        twin: `Bare`, whose networks, optimizers and noise it uses.
    """

    def __init__(self, name, twin):
        super().__init__()
        self.twin, self.kind, self.built = twin, name, True
        names = {
            "vae": ("elbo", "log_likelihood", "kl"),
            "wgan_gp": ("wasserstein_estimate", "gradient_penalty", "generator_loss"),
            "dcgan": ("discriminator_loss", "generator_loss"),
        }[name]
        self.means = {each: keras.metrics.Mean(name=each) for each in names}

    @property
    def metrics(self):
        """Reset by Keras at the start of an epoch."""
        return list(self.means.values())

    def train_step(self, batch):
        """One step; Keras compiles all of it."""
        logs = self.twin.step_of(self.kind)(iter([batch]))
        for name, value in logs.items():
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}
