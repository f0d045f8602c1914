"""What happens beside training, on the host: logs, pictures, saves, guards.

All are Keras callbacks for `fit`; each acts at training steps, not epochs.
"""

from tfgen.callbacks.clips import ClipGrid, clip_grid, write_gif
from tfgen.callbacks.guard import NaNGuard
from tfgen.callbacks.health import Health
from tfgen.callbacks.logs import CSVLog, Progress
from tfgen.callbacks.notes import SampleNotes, rainbowgram
from tfgen.callbacks.pictures import SampleGrid, TranslationGrid, grid
from tfgen.callbacks.quality import SampleQuality
from tfgen.callbacks.saving import Checkpoints
from tfgen.callbacks.tensorboard import TensorBoard
from tfgen.callbacks.validation import Best, Validation

__all__ = [
    "CSVLog",
    "Checkpoints",
    "ClipGrid",
    "Health",
    "NaNGuard",
    "Progress",
    "SampleGrid",
    "SampleNotes",
    "SampleQuality",
    "TensorBoard",
    "TranslationGrid",
    "Best",
    "Validation",
    "clip_grid",
    "grid",
    "rainbowgram",
    "write_gif",
]
