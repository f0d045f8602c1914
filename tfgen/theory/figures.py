"""Figures of `claims`: one function a claim, drawing into a (sub)figure it is given."""

import math

import numpy as np
from scipy.stats import cauchy, norm

from tfgen.theory import ring

DATA, FAKE, THIRD = "#1f77b4", "#d62728", "#2ca02c"


def optimal_discriminator(figure, results):
    """D* and a trained D over p and q, at the start and at the goal of G."""
    for axes, t in zip(figure.subplots(1, 2), (1.0, 0.0), strict=True):
        found = results["gaussians"][t]
        x, width = found["x"], found["x"][1] - found["x"][0]
        axes.fill_between(x, found["p"] / width, alpha=0.25, color=DATA, label="data p")
        axes.fill_between(
            x, found["q"] / width, alpha=0.25, color=FAKE, label="generator q"
        )
        axes.plot(x, sigmoid(found["wanted"]), "k", label="D* = p / (p + q)")
        axes.plot(x, sigmoid(found["trained"]), "--", color=THIRD, label="D trained")
        axes.set(xlim=(-4, 5), ylim=(0, 1.05), xlabel="x", ylabel="density; D(x)")
        axes.set_title(f"p = N(0, 1), q = N({t:g}, 1)")
        axes.legend(fontsize="small")


def generator_gradients(figure, results):
    """Both gradients of the shift t, with D at its optimum."""
    axes = figure.subplots()
    minimax, non_saturating = results["exact"].T
    axes.plot(results["shifts"], minimax, color=DATA, label="minimax: t E D*")
    axes.plot(
        results["shifts"],
        non_saturating,
        color=FAKE,
        label="non-saturating: t (1 - E D*)",
    )
    axes.set(xlabel="distance t of N(0, 1) and N(t, 1)", ylabel="d loss / dt")
    axes.set_title("With D at its optimum, the minimax gradient dies far from the data")
    axes.legend()


def two_lines(figure, results):
    """Divergences of the two parallel lines over their distance."""
    left, right = figure.subplots(1, 2)
    found = results["trained"]
    t = np.linspace(-1, 1, 401)
    for axes in (left, right):
        axes.set(xlabel="distance t of the lines", xticks=np.linspace(-1, 1, 5))
    left.axhline(math.log(2), color=DATA, label="JSD = log 2")
    left.plot(0, math.log(2), "o", color=DATA, mfc="white")
    left.plot(0, 0, "o", color=DATA)
    left.axhline(1, color="0.5", ls=":", label="total variation = 1")
    left.plot(found["t"], found["jsd"], "x", color="k", label="JSD of a trained D")
    left.set(ylabel="divergence (nats for JSD)", ylim=(-0.05, 1.35))
    left.set_title("JSD and TV do not see the distance")
    right.plot(t, np.abs(t), color=FAKE, label="W1 = |t|")
    right.plot(
        t, np.abs(t) + t**2 / 20, color=FAKE, ls=":", label=r"$|t| + t^2 / (2 \lambda)$"
    )
    right.plot(found["t"], found["w1"], "x", color="k", label="trained WGAN-GP critic")
    right.set(ylabel="W1, in units of t", ylim=(-0.05, 1.35))
    right.set_title("W1 is the distance")
    for axes in (left, right):
        axes.legend(loc="upper center", fontsize="small", ncols=2)


def learning(figure, results):
    """The generator's t over its updates."""
    axes = figure.subplots()
    axes.plot(results["paths"]["minimax"], color=DATA, label="minimax, D near optimum")
    axes.plot(results["paths"]["wasserstein"], color=FAKE, label="WGAN-GP critic")
    axes.axhline(0, color="0.7", lw=0.8)
    axes.set(xlabel="generator updates", ylabel="distance t of the lines")
    axes.set_title("Learning across a gap")
    axes.legend(loc="center right")


def critic_figure(figure, results):
    """A discriminator and a critic between two distant Gaussians."""
    axes = figure.subplots()
    x = results["x"]
    for mean, color, name in zip(
        results["means"], (DATA, FAKE), ("data", "generator"), strict=True
    ):
        density = norm.pdf(x, mean, 0.5)
        axes.fill_between(x, density, alpha=0.25, color=color, label=f"density, {name}")
    axes.plot(x, results["d"], color="k", label="discriminator D(x)")
    centred = results["f"] - results["f"][len(x) // 2]
    axes.plot(x, centred / 4, color=THIRD, label="WGAN-GP critic f(x) / 4")
    axes.set(xlabel="x", ylabel="density; D(x); f(x) / 4")
    axes.set_title("A discriminator saturates, a critic stays linear")
    axes.legend(fontsize="small", loc="lower left")


def vanishing_gradient(figure, results):
    """What reaches the generator while D or the critic is trained."""
    left, right = figure.subplots(1, 2)
    signal = results["signal"]
    for values, color, name in (
        (signal.minimax, DATA, "minimax"),
        (signal.non_saturating, FAKE, "non-saturating"),
        (signal.wasserstein, THIRD, "WGAN-GP"),
    ):
        left.plot(signal.steps, values, ".-", color=color, label=name)
    left.set(xlabel="steps of D or of the critic", ylabel="|d loss / dt| at t = 1")
    left.set(yscale="log", xlim=(0, None))
    left.set_xscale("symlog", linthresh=20)
    left.set_title("Parallel lines: a better D, no signal")
    left.legend(fontsize="small", loc="lower left")
    minimax, non_saturating = results["points"]
    right.plot(results["sharpness"], minimax, color=DATA, label="minimax")
    right.plot(results["sharpness"], non_saturating, color=FAKE, label="non-saturating")
    right.set(xlabel="slope a of the logit", ylabel="|d loss / dt| at t = 1")
    right.set(xscale="log", yscale="log", ylim=(1e-6, 100))
    right.set_title("Two points: D knows nothing ... D is sure")
    right.legend(fontsize="small", loc="lower left")


def noisy_discriminator(figure, results):
    """Histogram of the non-saturating gradient under a noisy D, and its law."""
    axes = figure.subplots()
    edges = np.linspace(-10, 10, 121)
    found, width = results["gradients"], edges[1] - edges[0]
    shares = np.histogram(found, edges)[0] / len(found) / width
    axes.stairs(shares, edges, fill=True, alpha=0.3, color=FAKE, label="simulated")
    axes.plot(edges, cauchy.pdf(edges), "k", label="Cauchy, no variance")
    axes.plot(edges, norm.pdf(edges), "k:", label="N(0, 1) for comparison")
    axes.set(yscale="log", ylim=(1e-3, 1), xlabel="gradient at one fake, -D'/D")
    axes.set(ylabel="density")
    axes.set_title("Non-saturating loss, D perfect up to noise")
    axes.legend(fontsize="small")


def dirac_gan(figure, results):
    """Trajectories of the Dirac-GAN, and their distance from the equilibrium."""
    left, right = figure.subplots(1, 2)
    for name, path in results["paths"].items():
        left.plot(*path[:600].T, lw=0.9, label=name)
        right.plot(np.maximum(results["radius"][name], 1e-6), lw=0.9, label=name)
    left.plot(0, 0, "k+", ms=10)
    left.set(xlabel=r"generator $\theta$", ylabel=r"discriminator $\psi$")
    left.set_title("Dirac-GAN, first 600 steps of 0.1")
    left.set_aspect("equal")
    right.set(yscale="log", xlabel="steps of 0.1", ylabel="distance from (0, 0)")
    right.set(ylim=(1e-6, 1e4))
    right.set_title("Only a penalty converges")
    right.legend(fontsize="x-small", loc="upper right")


def ring_of_gaussians(figure, results):
    """Samples on the ring of eight over training."""
    snapshots = results["snapshots"]
    panels = figure.subplots(1, len(snapshots), sharey=True)
    for axes, snapshot in zip(panels, snapshots, strict=True):
        axes.plot(*ring.CENTRES.T, "o", ms=9, mfc="none", color=DATA, label="modes")
        axes.plot(*snapshot.samples.T, ".", ms=1, color=FAKE, label="generated")
        found = ring.modes_found(snapshot.samples)
        axes.set_title(f"{snapshot.step} updates, {found} modes")
        axes.set(xlim=(-2, 2), ylim=(-2, 2), xlabel="$x_1$", aspect="equal")
    panels[0].set_ylabel("$x_2$")
    panels[0].legend(fontsize="x-small", loc="upper left")


def goodfellow_figure(figure, results):
    """Data, generated density and D(x) over training."""
    snapshots = results["snapshots"]
    panels = figure.subplots(1, len(snapshots), sharey=True)
    edges = np.linspace(-4, 5, 91)
    for axes, snapshot in zip(panels, snapshots, strict=True):
        x, width = snapshot.x, edges[1] - edges[0]
        shares = np.histogram(snapshot.samples, edges)[0] / len(snapshot.samples)
        axes.plot(x, norm.pdf(x), "k:", label="data p")
        axes.stairs(shares / width, edges, color=THIRD, label="generated q")
        axes.plot(x, snapshot.d, "--", color=DATA, label="D(x)")
        axes.axhline(0.5, color="0.8", lw=0.8, zorder=0)
        axes.set(ylim=(0, 1.05), xlabel="x", title=f"{snapshot.step} updates")
    panels[0].set_ylabel("density; D(x)")
    panels[0].legend(fontsize="x-small", loc="upper left")


def gradient_estimators(figure, results):
    """Total variance of the two estimators over the number of latents."""
    axes = figure.subplots()
    pairs = zip(results["curves"].items(), (DATA, FAKE, THIRD), strict=True)
    for (name, curve), color in pairs:
        axes.loglog(results["sizes"], curve, color=color, label=name)
        drawn = results["found"][name]
        axes.plot(list(drawn), list(drawn.values()), "x", color=color)
    axes.set(xlabel="latents d", ylabel="variance of d/dc E |z|^2 / 2, one draw")
    axes.set_title("z ~ N(c, I / 4), c = 1/2 in each dimension; crosses: drawn")
    axes.legend()


def sigmoid(x):
    """Return 1 / (1 + e^-x)."""
    return 0.5 * (1 + np.tanh(np.asarray(x) / 2))


# Claim -> (function, width of its figure in inches).
FIGURES = {
    draw.__name__: (draw, width)
    for draw, width in (
        (optimal_discriminator, 9),
        (generator_gradients, 7),
        (two_lines, 9),
        (learning, 6),
        (critic_figure, 6),
        (vanishing_gradient, 10),
        (noisy_discriminator, 6),
        (dirac_gan, 10),
        (ring_of_gaussians, 13),
        (goodfellow_figure, 13),
        (gradient_estimators, 7),
    )
}
