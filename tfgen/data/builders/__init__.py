"""Own TensorFlow Datasets builders: of files placed by hand, of clips drawn here.

Their names start with tfgen_, because a name that TensorFlow Datasets has as well
hides stock builders. What they read lies in DATA_DIR/downloads/manual:

    tfgen_usps            zip.train and zip.test, plain or .gz
    tfgen_emoji           emoji_google_64.png, emoji_twitter_64.png, emoji_index.json
    tfgen_notes           a SoundFont, *.sf2, unless the system has one
    tfgen_moving_shapes   nothing
"""

import importlib


def register():
    """Make the builders known to `tfds.load`; importing one does it."""
    for name in ("usps", "emoji", "notes", "moving_shapes"):
        importlib.import_module(f"{__name__}.{name}")
