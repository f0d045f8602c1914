"""Training steps of single models in PyTorch."""

import math
import random

import torch
import torch.nn.functional as F

from tfgen.core import noise

from . import benchmark_twins
from .benchmark_torch import Twin, uncompiled


class VAE(Twin):
    """Of `vae`."""

    trained = benchmark_twins.TRAINED["vae"]
    written_for = benchmark_twins.WRITTEN_FOR["vae"]

    def step(self, batches, draw):
        """One update of encoder and decoder."""
        x = self.pixels(next(batches)["image"]) / 255
        epsilon = draw("epsilon", [self.config.latent_size])
        with self.precision():
            mean, log_variance = self.networks["encoder"](x)
            z = mean + (0.5 * log_variance).exp() * epsilon
            logits = self.networks["decoder"](z).float()
        terms = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        log_likelihood = -terms / self.batch
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
        elbo = log_likelihood - kl
        self.update("optimizer", -elbo)
        return {"elbo": elbo, "log_likelihood": log_likelihood, "kl": kl}


class WGANGP(Twin):
    """Of `wgan_gp`."""

    trained = benchmark_twins.TRAINED["wgan_gp"]
    written_for = benchmark_twins.WRITTEN_FOR["wgan_gp"]
    # Sums in another order put a few units on the other side of a LeakyReLU's kink:
    # 2e-3 of the critic's gradients, where the penalty's jump.
    tolerance = 5e-3

    def step(self, batches, draw):
        """Several updates of the critic, one of the generator."""
        config, latent = self.config, [self.config.latent_size]
        generator, critic = self.networks["generator"], self.networks["critic"]
        for number in range(config.critic_steps):
            real = self.pixels(next(batches)["image"]) / 127.5 - 1
            with torch.no_grad(), self.precision():
                fake = generator(draw(f"critic_z/{number}", latent)).float()
            mix = draw(f"mix/{number}", [1, 1, 1], noise.uniform)
            between = (fake + mix * (real - fake)).requires_grad_()
            with self.precision():
                scores = critic(torch.cat([real, fake])).float()
                total = uncompiled(critic)(between).float().sum()
            estimate = scores[: self.batch].mean() - scores[self.batch :].mean()
            (slopes,) = torch.autograd.grad(total, between, create_graph=True)
            norm = (slopes.square().sum((1, 2, 3)) + 1e-12).sqrt()
            penalty = (norm - 1).square().mean()
            self.update("critic_optimizer", config.penalty_weight * penalty - estimate)
        with self.precision():
            loss = -critic(generator(draw("z", latent))).float().mean()
        self.update("generator_optimizer", loss)
        self.move_average("generator", 1 - config.average_decay)
        return {
            "wasserstein_estimate": estimate,
            "gradient_penalty": penalty,
            "generator_loss": loss,
        }


class OfLogits(Twin):
    """A GAN whose steps are told apart by logits; losses as in Goodfellow et al."""

    # An Adam step turns the sign of tiny gradients into whole steps: 2e-2 of the
    # generator's gradients, with losses equal to 5e-6.
    tolerance = 5e-2

    def separate(self, judge, real, fake):
        """Update the discriminator; returns its loss."""
        with self.precision():
            logits = judge(real).float(), judge(fake).float()
        loss = F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean()
        self.update("discriminator_optimizer", loss)
        return loss


class DCGAN(OfLogits):
    """Of `dcgan`."""

    trained = benchmark_twins.TRAINED["dcgan"]
    written_for = benchmark_twins.WRITTEN_FOR["dcgan"]

    def step(self, batches, draw):
        """One update of each network."""
        generator = self.networks["generator"]
        discriminator = self.networks["discriminator"]

        def latents(purpose):
            size = [self.config.latent_size]
            if self.config.latent == "normal":
                return draw(purpose, size)
            return 2 * draw(purpose, size, noise.uniform) - 1

        real = self.pixels(next(batches)["image"]) / 127.5 - 1
        with torch.no_grad(), self.precision():
            fake = generator(latents("discriminator_z/0"))
        separation = self.separate(discriminator, real, fake)
        with self.precision():
            logits = discriminator(generator(latents("z"))).float()
        deception = F.softplus(-logits).mean()
        self.update("generator_optimizer", deception)
        self.move_average("generator", 1 - self.config.average_decay)
        return {"discriminator_loss": separation, "generator_loss": deception}


class CycleGAN(Twin):
    """Of `cyclegan`, whole images."""

    trained = {
        "generators_optimizer": ("generator_ab", "generator_ba"),
        "discriminators_optimizer": ("discriminator_a", "discriminator_b"),
    }
    written_for = {"crop": 0}
    features = ("source", "target")
    # The kinks of the L1 norms, too, and instance norms that blow up what they do to
    # the generators; gradients of the discriminators differ by 1e-6. Seen at preset
    # tiny, on strokes before a flat ground: 2e-2 to 4e-2, with losses equal to 1e-7.
    tolerance = 5e-2

    def __init__(self, model, stream, form):
        super().__init__(model, stream, form)
        self.pools = {"a": [], "b": []}

    @staticmethod
    def networks_of(model):
        """Return the four, which tfgen trains in pairs."""
        names = [name for pair in CycleGAN.trained.values() for name in pair]
        return {name: getattr(model, name) for name in names}

    def arrays_of(self, stream):
        """Return the images of both domains."""
        return {name: getattr(stream, name).arrays["image"] for name in self.features}

    def step(self, batches, draw):
        """Both generators, then both discriminators."""
        config, batch = self.config, next(batches)
        a, b = (
            self.view(batch[name], draw(f"view_{domain}", [3], noise.uniform))
            for name, domain in (("source", "a"), ("target", "b"))
        )
        to_b, to_a = self.networks["generator_ab"], self.networks["generator_ba"]
        judge_a = self.networks["discriminator_a"]
        judge_b = self.networks["discriminator_b"]
        with self.precision():
            fake_b, fake_a = to_b(a), to_a(b)
            parts = {
                "adversarial_loss": _square(judge_b(fake_b) - 1)
                + _square(judge_a(fake_a) - 1),
                "cycle_loss": F.l1_loss(to_a(fake_b), a) + F.l1_loss(to_b(fake_a), b),
                "identity_loss": F.l1_loss(to_b(b), b) + F.l1_loss(to_a(a), a),
            }
        loss = parts["adversarial_loss"] + config.cycle_weight * (
            parts["cycle_loss"] + config.identity_weight * parts["identity_loss"]
        )
        self.update("generators_optimizer", loss)
        found = {"generator_loss": loss, **parts}
        with self.precision():
            for domain, judge, real, fake in (
                ("a", judge_a, a, fake_a),
                ("b", judge_b, b, fake_b),
            ):
                old = self.exchange(domain, fake.detach().float())
                loss = 0.5 * (_square(judge(real) - 1) + _square(judge(old)))
                found[f"discriminator_{domain}_loss"] = loss
        losses = found["discriminator_a_loss"] + found["discriminator_b_loss"]
        self.update("discriminators_optimizer", losses)
        return found

    def view(self, images, uniforms):
        """Return images in [-1, 1], some of them mirrored."""
        x = self.pixels(images) / 127.5 - 1
        if not self.config.flip:
            return x
        return torch.where(uniforms[:, 2, None, None, None] < 0.5, x.flip(3), x)

    def exchange(self, domain, images):
        """Return images of the history, which remembers these."""
        pool, returned = self.pools[domain], []
        for image in images:
            if len(pool) < self.config.pool_size:
                pool.append(image)
            elif random.random() < 0.5:
                place = random.randrange(len(pool))
                pool[place], image = image, pool[place]
            returned.append(image)
        stacked = torch.stack(returned)
        return stacked.contiguous(memory_format=self.layout)


class VideoGAN(OfLogits):
    """Of `video_gan`."""

    trained = benchmark_twins.TRAINED["dcgan"]
    written_for = {}
    features = ("video",)

    def step(self, batches, draw):
        """One update of each network, of the same latents."""
        generator = self.networks["generator"]
        real = self.pixels(next(batches)["video"]) / 127.5 - 1
        z = draw("z", [self.config.latent_size])
        with torch.no_grad(), self.precision():
            fake = generator(z)[0]
        discriminator = self.networks["discriminator"]
        separation = self.separate(discriminator, real, fake)
        with self.precision():
            clips, _, mask, _ = generator(z)
            logits = _difference(discriminator(clips))
        mean = mask.abs().mean()
        loss = F.softplus(-logits).mean() + self.config.mask_weight * mean
        self.update("generator_optimizer", loss)
        self.move_average("generator", 1 - self.config.average_decay)
        return {**separation, "generator_loss": loss, "mask": mean}

    def separate(self, discriminator, real, fake):
        """Update the discriminator, R1 in its loss; returns {report: value}."""
        weight = self.config.r1_weight
        judge = uncompiled(discriminator) if weight else discriminator
        real.requires_grad_(weight > 0)
        with self.precision():
            logits = _difference(judge(real)), _difference(judge(fake))
        loss = F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean()
        found = {"discriminator_loss": loss}
        if weight:
            (slopes,) = torch.autograd.grad(logits[0].sum(), real, create_graph=True)
            found["r1"] = slopes.square().sum((1, 2, 3, 4)).mean()
            loss = loss + 0.5 * weight * found["r1"]
        self.update("discriminator_optimizer", loss)
        return found


def _difference(logits):
    """Return the logit of real less that of fake."""
    return (logits[:, :1] - logits[:, 1:]).float()


class StyleGAN2(OfLogits):
    """Of `stylegan2`; `--steps` a multiple of the regularisers' intervals."""

    trained = {
        "generator_optimizer": ("mapping", "synthesis"),
        "discriminator_optimizer": ("discriminator",),
    }
    written_for = {"labels": False, "mirror": False}

    def __init__(self, model, stream, form):
        super().__init__(model, stream, form)
        self.done, self.mean_length = 0, torch.zeros([])
        self.mean_w = torch.zeros([model.generator.latent_size])

    @staticmethod
    def networks_of(model):
        """Return the parts of both generators, and the discriminator."""
        average, generator = model.generator_ema, model.generator
        return {
            "mapping": generator.mapping,
            "synthesis": generator.synthesis,
            "mapping_ema": average.mapping,
            "synthesis_ema": average.synthesis,
            "discriminator": model.discriminator,
        }

    def step(self, batches, draw):
        """The generator, then the discriminator, at some steps regularised."""
        config, discriminator = self.config, self.networks["discriminator"]
        real = self.pixels(next(batches)["image"]) / 127.5 - 1
        with self.precision():
            first, fake = self.make("generator", draw)
            logits = discriminator(fake).float()
        deception = F.softplus(-logits).mean()
        self.update("generator_optimizer", deception)
        self.mean_w = first.detach().float().mean(0).lerp(self.mean_w, 0.995)
        found = {"generator_loss": deception}
        if config.path_every and self.done % config.path_every == 0:
            found |= self.regularise_lengths(draw, real.shape)
        for name in ("mapping", "synthesis"):
            self.move_average(name, self.average_share())
        with torch.no_grad(), self.precision():
            _, fake = self.make("discriminator", draw)
        separation = self.separate(discriminator, real, fake)
        found["discriminator_loss"] = separation
        if config.r1_every and self.done % config.r1_every == 0:
            real.requires_grad_()
            with self.precision():
                total = uncompiled(discriminator)(real).float().sum()
            (slopes,) = torch.autograd.grad(total, real, create_graph=True)
            found["r1"] = slopes.square().sum((1, 2, 3)).mean()
            weight = 0.5 * config.r1_every * config.r1_weight
            self.update("discriminator_optimizer", weight * found["r1"])
        self.done += 1
        return found

    def average_share(self):
        """Return how far the generator's average goes towards it at this step."""
        half_life, ramp = self.config.average_images, self.config.average_ramp
        if ramp:
            half_life = min(half_life, ramp * self.batch * self.done)
        return 1 - 0.5 ** (self.batch / max(half_life, 1e-8))

    def regularise_lengths(self, draw, shape):
        """Update the generator by its path lengths, of half as many images."""
        config, (rows, channels, height, width) = self.config, shape
        rows = max(1, rows // 2)
        pixels = draw("path_length_pixels", [height, width, channels])[:rows]
        _, w, drawn = self.styles("path_length", draw, rows)
        with self.precision():
            images = uncompiled(self.networks["synthesis"])(w, drawn).float()
        total = (images * pixels.movedim(-1, 1)).sum() / math.sqrt(height * width)
        (slopes,) = torch.autograd.grad(total, w, create_graph=True)
        lengths = (slopes.square().sum(2).mean(1) + 1e-12).sqrt()
        mean = lengths.mean().lerp(self.mean_length, 0.99)
        penalty = (lengths - mean).square().mean()
        self.mean_length = mean.detach()
        weight = config.path_every * config.path_weight
        self.update("generator_optimizer", weight * penalty)
        return {"path_length": self.mean_length, "path_length_penalty": penalty}

    def make(self, purpose, draw):
        """Return w of the first latents, and images of two latents each."""
        first, w, drawn = self.styles(purpose, draw, self.batch)
        return first, self.networks["synthesis"](w, drawn)

    def styles(self, purpose, draw, rows):
        """Return w of a latent, copies of w of two, and noise, of the first rows."""
        generator = self.model.generator
        z = draw(f"{purpose}_z", [2, generator.latent_size])[:rows]
        uniforms = draw(f"{purpose}_mixing", [2], noise.uniform)[:rows]
        drawn = draw(f"{purpose}_noise", [generator.noise_size])[:rows]
        first, second = (self.networks["mapping"](z[:, n]) for n in (0, 1))
        place = 1 + (uniforms[:, 1] * (generator.copies - 1)).floor()
        mixed = uniforms[:, 0] < self.config.mixing
        place = torch.where(mixed, place, float(generator.copies))
        is_second = torch.arange(generator.copies) >= place[:, None]
        w = torch.where(is_second[..., None], second[:, None], first[:, None])
        return first, w, drawn


TWINS = {
    "vae": VAE,
    "wgan_gp": WGANGP,
    "dcgan": DCGAN,
    "cyclegan": CycleGAN,
    "video_gan": VideoGAN,
    "stylegan2": StyleGAN2,
}


def _square(x):
    return x.float().square().mean()
