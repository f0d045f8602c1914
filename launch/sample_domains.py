"""Pictures of models of two domains: translations, features, confusions."""

import numpy as np

from tfgen.core.errors import BadInput
from tfgen.metrics.passes import in_parts
from tfgen.workdir import Workdir

from . import held_out

COLOURS = {"cmap": "tab10", "vmin": 0, "vmax": 9}  # a class keeps its own
POINTS = 500  # of each domain in an embedding


def triplets(source, flags):
    """Return rows a, G(a), F(G(a)), b, F(b), G(F(b)) of test images, and their count.

    With --input the images are of domain A alone: three a row.
    """
    from tfgen.callbacks.pictures import triplets

    def translate(way):
        return lambda images: source.images(f"translate_{way}", images)

    calls = translate("ab"), translate("ba")
    if flags.input:
        data = held_out.load(source.run, flags.data_dir, flags.input)
        images = source.spec.replace(features={"image": source.spec.image})
        rows = held_out.arrays(data.test or data.train, images, flags.num)["image"]
        both = triplets(rows, rows, *calls)
        kept = np.arange(len(both)) % 6 < 3
        return both[kept], 3
    if flags.workdir is None:
        raise BadInput("--mode=translate of an export needs --input: a data name")
    pair = _test(flags)
    count = min(flags.num, len(pair.source), len(pair.target))
    a, b = (
        held_out.domain(pair, source.spec, name, count)["image"]
        for name in ("source", "target")
    )
    return triplets(a, b, *calls), 6


def embedding(source, flags, path):
    """Draw features of both domains in a plane, before and after adaptation.

    The plane is spanned by the two largest principal components of the source's
    features; colours are classes, crosses the target. Returns the number of points.
    """
    from sklearn.decomposition import PCA

    pair, images, labels = _test(flags), {}, {}
    for name in ("source", "target"):
        rows = held_out.domain(pair, source.spec, name, POINTS)
        images[name] = rows["image"]
        labels[name] = rows.get("label", np.zeros(len(rows["image"]), int))

    def features(endpoint, name):
        return source.calls[endpoint](images[name])["features"]

    first = "classify_source" if "classify_source" in source.calls else "classify"
    ours = features(first, "source")
    plane = PCA(2, svd_solver="full").fit(ours)
    stages = {"before": first, "after": "classify"}
    if first == "classify":
        stages = {"one encoder": "classify"}
    figure = _figure(5.5 * len(stages), 5)
    for axes, (title, endpoint) in zip(
        np.atleast_1d(figure.subplots(1, len(stages))), stages.items(), strict=True
    ):
        for name, marker, values in (
            ("source", "o", ours),
            ("target", "x", features(endpoint, "target")),
        ):
            x, y = plane.transform(values).T
            colours = {"c": labels[name] % 10, **COLOURS}
            axes.scatter(x, y, marker=marker, s=12, label=name, **colours)
        axes.set(title=f"{title} adaptation" if len(stages) > 1 else title)
        axes.legend()
    figure.savefig(path)
    return sum(map(len, images.values()))


def confusion(source, flags, path):
    """Draw the share of each true class that goes to each answer, target test rows.

    One panel a classifier: that of the source alone, where the model keeps it, and
    the adapted one. Returns the number of images.
    """
    pair = _test(flags)
    rows = held_out.domain(pair, source.spec, "target", None)
    if "label" not in rows:
        raise BadInput(f"{pair.target.spec.name} has no labels to test against")
    names = {"classify_source": "source only", "classify": "adapted"}
    names = {
        endpoint: title for endpoint, title in names.items() if endpoint in source.calls
    }
    classes = source.spec.features["label"].classes
    figure = _figure(5 * len(names), 4.6)
    panels = np.atleast_1d(figure.subplots(1, len(names)))
    for axes, (endpoint, title) in zip(panels, names.items(), strict=True):
        answers = in_parts(source.calls[endpoint], rows["image"])["label"]
        table = shares(rows["label"], answers, len(classes))
        axes.imshow(table, cmap="Blues", vmin=0, vmax=1)
        for true, answer in np.argwhere(table >= 0.005):
            share = table[true, answer]
            axes.text(
                answer,
                true,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if share > 0.5 else "black",
            )
        ticks = range(len(classes))
        axes.set(xticks=ticks, yticks=ticks, xlabel="answer", ylabel="class")
        axes.set(xticklabels=classes, yticklabels=classes, title=f"{title}, %")
    figure.savefig(path)
    return len(rows["image"])


def shares(labels, answers, classes):
    """Return `[classes, classes]`: share of the rows of class i answered by j."""
    table = np.zeros([classes, classes])
    np.add.at(table, (labels, answers), 1.0)
    return table / np.maximum(table.sum(axis=1, keepdims=True), 1.0)


def _test(flags):
    if flags.workdir is None:
        raise BadInput(f"--mode={flags.mode} needs --workdir: it shows the run's data")
    run = Workdir(flags.workdir).require_config()
    pair, _ = held_out.split(held_out.load(run, flags.data_dir))
    return pair


def _figure(width, height):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
