"""Every model by name, imported on use, and `build`, which assembles one."""

import contextlib
import difflib
import importlib

from tfgen.core.errors import BadInput

MODELS = {
    "ae": "tfgen.models.ae:AE",
    "vae": "tfgen.models.vae:VAE",
    "vae_monte_carlo": "tfgen.models.vae:MonteCarloVAE",
    "iwae": "tfgen.models.vae:IWAE",
    "hierarchical_vae": "tfgen.models.hierarchical_vae:HierarchicalVAE",
    "hierarchical_iwae": "tfgen.models.hierarchical_vae:HierarchicalIWAE",
    "ladder_vae": "tfgen.models.hierarchical_vae:LadderVAE",
    "dlgm": "tfgen.models.dlgm:DLGM",
    "vae_table": "tfgen.models.inference:TableVAE",
    "vae_semi_amortised": "tfgen.models.inference:SemiAmortisedVAE",
    "vae_semi_amortised_stopped": "tfgen.models.inference:StoppedSemiAmortisedVAE",
    "cvae": "tfgen.models.cvae:CVAE",
    "cvae_guided": "tfgen.models.cvae:GuidedCVAE",
    "cvae_label": "tfgen.models.cvae:LabelCVAE",
    "cvae_baseline": "tfgen.models.cvae_baseline:Baseline",
    "gmmn": "tfgen.models.gmmn:GMMN",
    "gmmn_code": "tfgen.models.gmmn:CodeGMMN",
    "gmmn_autoencoder": "tfgen.models.gmmn:GMMNAutoencoder",
    "gan": "tfgen.models.gan:GAN",
    "gan_simultaneous": "tfgen.models.gan:SimultaneousGAN",
    "hinge_gan": "tfgen.models.gan_variants:HingeGAN",
    "least_squares_gan": "tfgen.models.gan_variants:LeastSquaresGAN",
    "relativistic_gan": "tfgen.models.gan_variants:RelativisticGAN",
    "dragan": "tfgen.models.gan_variants:DRAGAN",
    "dcgan": "tfgen.models.dcgan:DCGAN",
    "cgan": "tfgen.models.cgan:CGAN",
    "cgan_convolutional": "tfgen.models.cgan:ConvolutionalCGAN",
    "wgan": "tfgen.models.wgan:WGAN",
    "wgan_gp": "tfgen.models.wgan:WGANGP",
    "classifier": "tfgen.models.classifier:Classifier",
    "pitch_classifier": "tfgen.models.pitch_classifier:PitchClassifier",
    "stylegan2": "tfgen.models.stylegan2:StyleGAN2",
    "stylegan2_ada": "tfgen.models.stylegan2_ada:StyleGAN2ADA",
    "stylegan2_diffaugment": "tfgen.models.stylegan2_ada:StyleGAN2DiffAugment",
    "cyclegan": "tfgen.models.cyclegan:CycleGAN",
    "adda": "tfgen.models.adda:ADDA",
    "dann": "tfgen.models.adda:DANN",
    "gansynth": "tfgen.models.gansynth:GANSynth",
    "gansynth_flat": "tfgen.models.gansynth:GANSynthFlat",
    "dt2v": "tfgen.models.direct_text2video:DirectText2Video",
    "pt2v": "tfgen.models.direct_text2video:PairedText2Video",
    "gt2v": "tfgen.models.text2video:GistText2Video",
    "text2video": "tfgen.models.text2video:Text2Video",
    "text_filter_gan": "tfgen.models.text_filter_gan:TextFilterGAN",
    "text_filter_gan_matched": "tfgen.models.text_filter_controls:MatchedTextFilterGAN",
    "text_concat_gan": "tfgen.models.text_filter_controls:TextConcatGAN",
    "video_gan": "tfgen.models.video_gan:VideoGAN",
    "video_gan_one_stream": "tfgen.models.video_gan:OneStreamVideoGAN",
    "video_gan_future": "tfgen.models.video_gan:FutureVideoGAN",
    "video_classifier": "tfgen.models.video_classifier:VideoClassifier",
}

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras' names


def find(name):
    """Return the model class of a name in MODELS or of `package.module:Class`."""
    path = MODELS.get(name, name)
    module, colon, attribute = path.partition(":")
    if not colon:
        close = difflib.get_close_matches(name, MODELS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise BadInput(
            f"unknown model {name!r}{hint}; valid: {', '.join(MODELS)}, "
            "or package.module:Class"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"cannot import model {name!r}: {error}") from None
    from tfgen.core.model import GenerativeModel

    if not (isinstance(found, type) and issubclass(found, GenerativeModel)):
        raise BadInput(f"model {name!r} is not a subclass of tfgen.GenerativeModel")
    return found


def configure(name, preset=None, hparams=None):
    """Return the `Config` of model `name`: a preset with some fields changed.

    Args:
        name: A key of MODELS, or `package.module:Class`.
        preset: "paper", "small" or "tiny"; None: "small".
        hparams: {field of its Config: value} changing the preset.

    Raises:
        BadInput: A name, preset, hparam or value is not valid.
    """
    cls = find(name)
    preset = "small" if preset is None else preset
    if preset not in cls.PRESETS:
        raise BadInput(
            f"unknown preset {preset!r} of {name}; valid: {', '.join(cls.PRESETS)}"
        )
    return cls.Config.parse(cls.PRESETS[preset], hparams or {})


def build(
    name,
    preset=None,
    *,
    spec,
    hparams=None,
    config=None,
    seed=0,
    strategy=None,
    xla="auto",
    precision="float32",
    **compile_arguments,
):
    """Return a compiled model, ready for `fit`.

    Args:
        name: A key of MODELS, or `package.module:Class`.
        preset: "paper", "small" or "tiny"; None: "small".
        spec: `DataSpec` of the data it will be fed.
        hparams: {field of its Config: value} changing the preset.
        config: A finished Config instead of preset and hparams.
        seed: Of initial weights, noise and data order, in [0, 2**31). Sets Python's,
            NumPy's and TensorFlow's global seeds, which Keras' initialisers draw from.
        strategy: `tf.distribute.Strategy` to live in; none: this device.
        xla: "on", "off", or "auto": on for accelerators, on a CPU as the model says.
        precision: "float32", or "bfloat16" for layers' arithmetic (weights,
            losses and penalties stay float32).
        **compile_arguments: Further arguments of `GenerativeModel.compile`.

    Raises:
        BadInput: A name, preset, hparam or value is not valid, or the data lack
            what the model needs.
    """
    import keras
    import tensorflow as tf

    from tfgen.core import noise
    from tfgen.core.spec import DataSpec

    cls = find(name)
    if not isinstance(spec, DataSpec):
        raise BadInput(
            f"{name} is built for a DataSpec, not {type(spec).__name__}: give "
            "spec=data.spec"
        )
    seed = noise.check_seed(seed)
    for what, value, valid in (
        ("precision", precision, list(_POLICIES)),
        ("xla", xla, ["auto", "on", "off"]),
    ):
        if value not in valid:
            raise BadInput(f"unknown {what} {value!r}; valid: {', '.join(valid)}")
    if config is None:
        config = configure(name, preset, hparams)
    elif preset is not None or hparams:
        raise BadInput("a config takes the place of preset and hparams: give one")
    elif cls.Config and not isinstance(config, cls.Config):
        raise BadInput(
            f"{name} needs a config of type {cls.Config.__name__}, not "
            f"{type(config).__name__}; models.configure({name!r}) makes one"
        )
    accelerated = bool(tf.config.list_logical_devices("GPU")) or isinstance(
        strategy, tf.distribute.TPUStrategy
    )
    automatic = accelerated or cls.xla_on_cpu
    keras.utils.set_random_seed(seed)
    earlier = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        with strategy.scope() if strategy else contextlib.nullcontext():
            model = cls.create(config, spec)
            model.feed_from(spec)
            model.compile(
                seed=seed,
                xla=automatic if xla == "auto" else xla == "on",
                **compile_arguments,
            )
    finally:
        keras.config.set_dtype_policy(earlier)
    return model
