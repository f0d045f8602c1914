"""Every claim as a function: what theory says, what the library's code gives.

Each returns a `Claim`: its checks, and what `figures` needs to draw it. A tolerance
is 1e-4 or less where nothing is trained; where something is, it is what a known-good
run leaves room for, and the check's name says "trained".
"""

import numpy as np
import tensorflow as tf
from scipy.stats import cauchy, norm

from tfgen.losses import adversarial
from tfgen.theory import (
    critics,
    dirac,
    divergences,
    estimators,
    goodfellow,
    gradients,
    parallel_lines,
    ring,
    training,
    transport,
)
from tfgen.theory.checks import Check, Claim


def optimal_discriminator():
    """D* = p / (p + q) and V(D*) = 2 JSD - 2 log 2, tabular and trained."""
    rng = np.random.default_rng(0)
    counts = [rng.multinomial(980, rng.dirichlet(np.full(20, 5.0))) + 1 for _ in "pq"]
    p, q = (count / 1000 for count in counts)
    logits, value = divergences.tabular_discriminator(*counts)
    wrong = np.abs(logits - divergences.optimal_logits(p, q)).max()
    checks = [
        Check("20 atoms, trained: max |logit D - log p/q|", 0.0, wrong, 1e-3),
        Check(
            "20 atoms, trained: V(D), nats",
            divergences.optimal_value(p, q),
            value,
            1e-5,
        ),
    ]
    gaussians = {}
    for t in (0.0, 1.0):
        network = logistic(t)
        x, p, q = divergences.shifted_gaussians(t)
        trained = network(np.float32(x[:, None])).numpy()[:, 0].astype(float)
        wanted = divergences.gaussian_logits(t, x)
        near = (x >= -2) & (x <= 3)
        wrong = np.abs(trained - wanted)[near].max()
        # The expectation by quadrature: on fresh samples V would scatter by 0.01.
        value = divergences.value(p, q, trained)
        checks += [
            Check(f"N(0,1), N({t:g},1), trained: max |logit D - D*|", 0, wrong, 0.1),
            Check(
                f"N(0,1), N({t:g},1), trained: V/2 + log 2, nats",
                divergences.jsd(p, q),
                divergences.jsd_of_value(value),
                0.005,
            ),
        ]
        gaussians[t] = {"x": x, "p": p, "q": q, "trained": trained, "wanted": wanted}
    return Claim(checks, {"gaussians": gaussians})


def logistic(t, hidden=(), rate=1e-2, steps=2000, batch=4096, seed=0):
    """Return a discriminator of N(0, 1) and N(t, 1), trained; linear by default."""
    network = training.mlp(1, list(hidden), seed=seed)
    learner = training.Learner(network, rate, decay_over=steps)
    pairs = critics.gaussian_pairs(t, batch, seed)
    return critics.train(critics.discriminator_step(learner, pairs), learner, steps)


def generator_gradients():
    """Gradients of both generator losses at D*, against d(2 JSD) and d(KL - 2 JSD)."""
    z, checks, step = gradients.even_normal(), [], 1e-4
    for t in (0.5, 1.0, 2.0, 3.0, 4.0):

        def logits(x, t=t):
            return divergences.gaussian_logits(t, x)

        x = divergences.grid(t)
        p = divergences.masses(norm.pdf, x)
        high, low = (divergences.masses(norm(t + s).pdf, x) for s in (step, -step))
        slope = (divergences.jsd(p, high) - divergences.jsd(p, low)) / step
        kl_slope = (divergences.kl(high, p) - divergences.kl(low, p)) / (2 * step)
        for name, loss, wanted in (
            ("minimax = d(2 JSD)/dt", adversarial.minimax_generator_loss, slope),
            (
                "non-saturating = d(KL - 2 JSD)/dt",
                adversarial.non_saturating_generator_loss,
                kl_slope - slope,
            ),
        ):
            found = gradients.of_shift(loss, logits, t, z)
            checks.append(Check(f"gradient at t={t:g}, {name}", wanted, found, 1e-4))
    shifts = np.linspace(0.0, 6.0, 61)
    exact = np.array([divergences.shift_gradients(t) for t in shifts])
    return Claim(checks, {"shifts": shifts, "exact": exact})


def optimal_transport():
    """W1 as cheapest coupling, as best critic, by sorting, and for Gaussians."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.normal(size=12))
    p, q = rng.dirichlet(np.ones(12)), rng.dirichlet(np.ones(12))
    distance = np.abs(x[:, None] - x)
    coupled, _ = transport.cheapest_coupling(p, q, distance)
    dual, _ = transport.best_critic(p, q, distance)
    a, b = rng.normal(size=20), rng.normal(size=20) + 1
    even = np.full(20, 1 / 20)
    sample, _ = transport.cheapest_coupling(even, even, np.abs(a[:, None] - b))
    grid, p_masses, q_masses = divergences.shifted_gaussians(2.0)
    checks = [
        Check("12 atoms: W1 of the coupling = of the best critic", coupled, dual, 1e-8),
        Check(
            "12 atoms: W1 = integral |F_p - F_q|",
            coupled,
            transport.w1_of_masses(x, p, q),
            1e-8,
        ),
        Check(
            "20 points: W1 = mean |sorted a - sorted b|",
            sample,
            transport.w1_of_samples(a, b),
            1e-8,
        ),
        Check(
            "W1 of N(0,1) and N(2,1)",
            2.0,
            transport.w1_of_masses(grid, p_masses, q_masses),
            1e-4,
        ),
    ]
    return Claim(checks, {})


def two_lines():
    """On parallel lines JSD is log 2 however far; W1 is the distance."""
    checks, trained = [], {"t": [], "jsd": [], "w1": []}
    for t in (0.1, 0.25, 0.5, 1.0):
        exact = parallel_lines.estimate(parallel_lines.exact_critic(t), t)
        checks.append(Check(f"lines at t={t:g}: f = -sign(t) x_1", t, exact, 1e-6))
        discriminator = parallel_lines.discriminator(t)
        found = parallel_lines.value(discriminator, t)
        jsd = divergences.jsd_of_value(found)
        checks.append(
            Check(
                f"lines at t={t:g}: JSD of a trained D, nats",
                parallel_lines.closed_forms(t)["jsd"],
                jsd,
                0.0131,  # 0.6931 - 0.68
            )
        )
        critic = parallel_lines.critic(t)
        estimate = parallel_lines.estimate(critic, t)
        wanted = parallel_lines.penalised_estimate(t)
        checks.append(
            Check(
                f"lines at t={t:g}: t + t^2/20 of a trained WGAN-GP critic",
                wanted,
                estimate,
                0.05 * wanted,
            )
        )
        trained["t"].append(t)
        trained["jsd"].append(jsd)
        trained["w1"].append(estimate)
    # Instance noise: across the lines N(0, sigma^2) and N(t, sigma^2).
    x, p, q = divergences.shifted_gaussians(0.5 / 0.5)
    checks.append(
        Check(
            "lines at t=0.5 with noise 0.5: JSD", 0.111421, divergences.jsd(p, q), 1e-6
        )
    )
    return Claim(checks, {"trained": trained})


def learning():
    """A generator learns from W1 across a gap; from a good discriminator it cannot."""
    paths = {
        kind: parallel_lines.learn_shift(kind) for kind in ("minimax", "wasserstein")
    }
    checks = [
        Check(
            "learning: smallest |t| after 40 updates, WGAN-GP, from 1",
            0.05,
            float(np.abs(paths["wasserstein"]).min()),
            relation="<",
        ),
        Check(
            "learning: |change of t| after 40 updates, minimax",
            0.05,
            float(np.abs(paths["minimax"] - 1).max()),
            relation="<",
        ),
    ]
    return Claim(checks, {"paths": paths})


def vanishing_gradient():
    """The minimax gradient vanishes as D improves; the others' do not."""
    signal = parallel_lines.signal_over_training()
    fall = signal.minimax[-1] / max(signal.minimax)
    slope, offset, t = gradients.best_slope(1.0), gradients.best_slope(1.0) / 2, 1.0

    def logits(x):
        return offset - slope * x

    minimax, non_saturating = gradients.point_mass_gradients(slope, offset, t)
    zero = [0.0]
    checks = [
        Check("lines: last minimax gradient / largest", 0.01, fall, relation="<"),
        Check(
            "lines: last non-saturating gradient / at 100 steps",
            1.0,
            signal.non_saturating[-1] / signal.non_saturating[3],
            relation=">",
        ),
        Check(
            "lines: gradient of the trained WGAN-GP critic",
            1.05,
            signal.wasserstein[-1],
            0.1,
        ),
        Check(
            "point masses: minimax gradient",
            minimax,
            abs(
                gradients.of_shift(adversarial.minimax_generator_loss, logits, t, zero)
            ),
            1e-6,
        ),
        Check(
            "point masses: non-saturating gradient",
            non_saturating,
            abs(
                gradients.of_shift(
                    adversarial.non_saturating_generator_loss, logits, t, zero
                )
            ),
            1e-6,
        ),
    ]
    sharpness = np.geomspace(0.02, 50, 200)
    points = gradients.point_mass_gradients(sharpness, sharpness / 2, 1.0)
    return Claim(checks, {"signal": signal, "sharpness": sharpness, "points": points})


def noisy_discriminator():
    """With an imperfect D the non-saturating gradient is Cauchy: infinite variance."""
    found = gradients.perturbed_non_saturating(2**20)
    checks = [
        Check(
            f"noisy D: {share:.0%} quantile of the gradient",
            float(cauchy.ppf(share)),
            float(np.quantile(found, share)),
            0.02 * (1 + abs(float(cauchy.ppf(share)))),
        )
        for share in (0.25, 0.5, 0.75, 0.95)
    ]
    return Claim(checks, {"gradients": found})


def critic_figure():
    """Between two far Gaussians D is flat where the fakes are; a critic is not."""
    real_mean, fake_mean, spread = -2.0, 2.0, 0.5

    def pairs(number):
        shape = [512, 1]
        real = real_mean + spread * training.normal(0, number, 1, shape)
        return real, fake_mean + spread * training.normal(0, number, 2, shape)

    networks = {}
    for name, make in (
        ("discriminator", critics.discriminator_step),
        ("critic", critics.critic_step),
    ):
        learner = training.Learner(training.mlp(1, [64, 64]), decay_over=3000)
        networks[name] = critics.train(make(learner, pairs), learner, 3000)
    x = np.linspace(-5, 5, 401, dtype="float32")
    d, f = (networks[name](x[:, None]).numpy()[:, 0] for name in networks)
    d = tf.sigmoid(d).numpy()
    fakes = np.abs(x - fake_mean) < 2 * spread
    slope_d, slope_f = (np.abs(np.gradient(y, x))[fakes] for y in (d, f))
    between = np.abs(x) <= 1
    # f' = 1 + F / (2 weight r), and between them F = 1, r = 1 / distance.
    steepness = 1 + (fake_mean - real_mean) / 20
    slope = float(np.mean(np.abs(np.gradient(f, x))[between]))
    checks = [
        Check(
            "two Gaussians: max |D'| at the fakes", 0.05, slope_d.max(), relation="<"
        ),
        Check("two Gaussians: min |f'| at the fakes", 0.5, slope_f.min(), relation=">"),
        Check("two Gaussians: mean |f'| between them", steepness, slope, 0.05),
    ]
    return Claim(checks, {"x": x, "d": d, "f": f, "means": (real_mean, fake_mean)})


def dirac_gan():
    """Around its equilibrium the game turns; the R1 penalty pulls it inwards."""
    checks = []
    for gamma in (0.0, 0.1, 1.0, 4.0):
        wanted = dirac.eigenvalues(gamma)
        found = np.linalg.eigvals(dirac.jacobian(gamma).astype(complex))
        # The pair as a polynomial's coefficients: no order, and smooth where double.
        for name, a, b in (
            ("sum", wanted.sum().real, found.sum().real),
            ("product", wanted.prod().real, found.prod().real),
        ):
            quantity = f"Dirac-GAN, gamma={gamma:g}: {name} of the eigenvalues"
            checks.append(Check(quantity, float(a), float(b), 1e-5))
    paths = {
        "simultaneous, no penalty": dirac.trajectory(0.0),
        "alternating, no penalty": dirac.trajectory(0.0, "alternating"),
        "gradient flow, no penalty": dirac.trajectory(0.0, "flow"),
        r"simultaneous, R1 $\gamma = 0.1$": dirac.trajectory(0.1),
        r"simultaneous, R1 $\gamma = 1$": dirac.trajectory(1.0),
    }
    radius = {name: np.linalg.norm(path, axis=1) for name, path in paths.items()}
    plain, turns, flow, _, damped = radius.values()
    checks += [
        Check("Dirac-GAN: radius, simultaneous, no penalty", 2**0.5, plain[-1], 0, ">"),
        Check("Dirac-GAN: radius, R1 gamma=1", 1e-3, damped[-1], 0, "<"),
        Check("Dirac-GAN: least radius, alternating", 1.0, turns.min(), 0, ">"),
        Check("Dirac-GAN: largest radius, alternating", 2.0, turns.max(), 0, "<"),
        Check("Dirac-GAN: radius, gradient flow", 2**0.5, flow[-1], 1e-4),
    ]
    return Claim(checks, {"paths": paths, "radius": radius})


def ring_of_gaussians():
    """A non-saturating GAN finds the ring's modes; the minimax one would not start."""
    snapshots = ring.play()
    minimax, non_saturating = ring.signal_of_sure_discriminator()
    checks = [
        Check(
            "ring: modes of 8 after 4,000 updates",
            3.5,
            ring.modes_found(snapshots[-1].samples),
            relation=">",
        ),
        Check(
            "ring: minimax / non-saturating gradient, sure D",
            0.01,
            minimax / non_saturating,
            relation="<",
        ),
    ]
    return Claim(checks, {"snapshots": snapshots})


def goodfellow_figure():
    """In one dimension p_g moves onto p_data and D(x) becomes 1/2 there."""
    snapshots = goodfellow.play()
    last = snapshots[-1]
    quantiles = gradients.even_normal(len(last.samples))
    middle = np.abs(last.x) <= 1.5
    checks = [
        Check(
            "1-d GAN: W1 of samples and N(0,1), trained",
            0.0,
            transport.w1_of_samples(last.samples, quantiles),
            0.25,
        ),
        Check(
            "1-d GAN: max |D - 1/2| on [-1.5, 1.5], trained",
            0.0,
            float(np.abs(last.d[middle] - 0.5).max()),
            0.1,
        ),
    ]
    return Claim(checks, {"snapshots": snapshots})


def gradient_estimators():
    """Score function and reparameterisation: one mean, variances d^3 and d."""
    checks, s, draws = [], 0.5, 200_000
    found = {name: {} for name in estimators.ESTIMATORS}
    for d in (1, 4, 16):
        c = np.full(d, 0.5)
        for name, (estimator, options, variance) in estimators.ESTIMATORS.items():
            drawn = estimators.gradients(estimator, c, s, draws, d, **options(c, s))
            found[name][d] = total = float(drawn.var(axis=0).sum())
            exact = float(variance(c, s))
            # A mean of draws scatters by sqrt(variance / draws); five of them.
            room = 5 * np.sqrt(exact / draws)
            wrong = np.linalg.norm(drawn.mean(axis=0) - c)
            where = f"{name}, d = {d}"
            checks += [
                Check(f"{where}: |mean gradient - exact|", 0.0, wrong, room),
                Check(f"{where}: variance / closed form", 1.0, total / exact, 0.05),
            ]
    sizes = np.arange(1, 65)
    curves = {
        name: [variance(np.full(d, 0.5), s) for d in sizes]
        for name, (_, _, variance) in estimators.ESTIMATORS.items()
    }
    return Claim(checks, {"sizes": sizes, "curves": curves, "found": found})


CLAIMS = {
    claim.__name__: claim
    for claim in (
        optimal_discriminator,
        generator_gradients,
        optimal_transport,
        two_lines,
        learning,
        critic_figure,
        vanishing_gradient,
        noisy_discriminator,
        dirac_gan,
        ring_of_gaussians,
        goodfellow_figure,
        gradient_estimators,
    )
}
