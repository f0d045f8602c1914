"""Controls of the text-filter GAN (Balaji et al. 2019), each without one part of it.

`text_concat_gan` has no filters: discriminators read the sentence's vector at the end
only. `text_filter_gan_matched` never sees a real clip with another sentence. All else,
and the law of replicas, is as in `tfgen.models.text_filter_gan`.
"""

from tfgen.losses import adversarial
from tfgen.models.text_filter_gan import ConcatConfig, TextFilterGAN


class TextConcatGAN(TextFilterGAN):
    """The control without filters: the sentence's vector joins the last stage only."""

    Config = ConcatConfig
    FILTERED = False
    PRESETS = {
        name: {field: value for field, value in preset.items() if field != "filters"}
        for name, preset in TextFilterGAN.PRESETS.items()
    }


class MatchedTextFilterGAN(TextFilterGAN):
    """The control without wrong pairs: real clips only with their own sentences."""

    def separation(self, real, other, fake):
        """Return the cross-entropy of real against made."""
        return adversarial.minimax_discriminator_loss(real, fake)
