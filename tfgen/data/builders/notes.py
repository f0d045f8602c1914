"""Notes of a SoundFont, played by FluidSynth, one note a row.

Needs the package pyfluidsynth with the library FluidSynth (Debian: fluidsynth), and a
SoundFont: the first .sf2 file in the folder for files placed by hand, else one that the
system has (Debian: fluid-soundfont-gm).

A note is held for three quarters of its length, without reverberation and chorus, its
two channels mixed. Notes that the SoundFont does not have are left out. A fifth of the
notes, by a hash of pitch, program and velocity, is for testing.
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from tfgen.core.errors import BadInput

SAMPLE_RATE = 16000  # Hz
HELD = 0.75  # share of a note before the key is let go
GAIN = 1.2
TEST = 5  # one of so many notes
PAUSE = 6400  # samples between notes
SILENT = 1e-3  # a peak below this is no note
SYSTEM = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/default-GM.sf2",
    "/usr/share/soundfonts/default.sf2",
    "/usr/local/share/soundfonts/default.sf2",
)
# Acoustic instruments of General MIDI that sound from 24 to 84 in FluidR3.
ACOUSTIC = {
    0: "grand piano",
    6: "harpsichord",
    11: "vibraphone",
    12: "marimba",
    19: "church organ",
    21: "accordion",
    24: "nylon guitar",
    25: "steel guitar",
    32: "acoustic bass",
    40: "violin",
    42: "cello",
    46: "harp",
    48: "strings",
    56: "trumpet",
    57: "trombone",
    60: "french horn",
    65: "alto saxophone",
    68: "oboe",
    70: "bassoon",
    71: "clarinet",
    73: "flute",
    74: "recorder",
}


@dataclasses.dataclass
class NotesConfig(tfds.core.BuilderConfig):
    """Which notes are played.

    Attributes:
        pitches: MIDI numbers.
        programs: General MIDI programs, from 0.
        velocities: 1 to 127.
        samples: length of a note, a multiple of 256 (buffers of FluidSynth).
    """

    pitches: tuple[int, ...] = ()
    programs: tuple[int, ...] = ()
    velocities: tuple[int, ...] = ()
    samples: int = 64000


class TfgenNotes(tfds.core.GeneratorBasedBuilder):
    """Features as those of NSynth: audio in [-1, 1], pitch, velocity, instrument."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        NotesConfig(
            name="small",
            description="an octave of 8 instruments, half a second",
            pitches=tuple(range(60, 72)),
            programs=(0, 19, 24, 40, 48, 56, 71, 73),
            velocities=tuple(range(34, 128, 3)),
            samples=8192,
        ),
        NotesConfig(
            name="gm",
            description="five octaves of acoustic instruments, four seconds",
            pitches=tuple(range(24, 85)),
            programs=tuple(ACOUSTIC),
            velocities=(25, 50, 75, 100, 127),
        ),
    ]

    def _info(self):
        config = self.builder_config
        return self.dataset_info_from_configs(
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "audio": tfds.features.Audio(
                        shape=(config.samples,),
                        dtype=np.float32,
                        sample_rate=SAMPLE_RATE,
                    ),
                    "pitch": tfds.features.ClassLabel(
                        names=[str(pitch) for pitch in config.pitches]
                    ),
                    "velocity": np.int64,
                    "instrument": tfds.features.ClassLabel(
                        names=[ACOUSTIC[program] for program in config.programs]
                    ),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        font = soundfont(Path(dl_manager._manual_dir))
        return {split: self._generate_examples(font, split) for split in SPLITS}

    def _generate_examples(self, font, split):
        config, player = self.builder_config, Player(font)
        for number, program in enumerate(config.programs):
            for pitch in config.pitches:
                for velocity in config.velocities:
                    key = f"{program}-{pitch}-{velocity}"
                    if split_of(key) != split:
                        continue
                    audio = player.play(program, pitch, velocity, config.samples)
                    if np.abs(audio).max() < SILENT:
                        continue
                    note = {
                        "audio": audio,
                        "pitch": str(pitch),
                        "velocity": velocity,
                        "instrument": number,
                    }
                    yield key, note
        player.close()


SPLITS = ("train", "test")


def split_of(key: str) -> str:
    """Returns "train" or "test" by a hash of a note's key."""
    digest = hashlib.sha256(key.encode()).digest()
    return SPLITS[digest[0] % TEST == 0]


def soundfont(folder: Path) -> Path:
    """Finds the SoundFont.

    Args:
        folder: where a user puts files; the first .sf2 there is taken.

    Raises:
        BadInput: there is none, and the system has none.
    """
    found = sorted(folder.glob("*.sf2")) + [Path(path) for path in SYSTEM]
    for path in found:
        if path.is_file():
            return path
    raise BadInput(
        f"no SoundFont: put an .sf2 file into {folder}, or install one (Debian: "
        "fluid-soundfont-gm)"
    )


class Player:
    """FluidSynth with one SoundFont.

    Raises:
        BadInput: package or library are missing, or the file is no SoundFont.
    """

    def __init__(self, font: Path):
        try:
            import fluidsynth
        except (ImportError, OSError) as error:
            raise BadInput(
                "FluidSynth is missing: pip install pyfluidsynth, and the library "
                f"(Debian: fluidsynth); {error}"
            ) from None
        dry = {"synth.reverb.active": 0, "synth.chorus.active": 0}
        self.synth = fluidsynth.Synth(GAIN, float(SAMPLE_RATE), **dry)
        self.font = self.synth.sfload(str(font))
        if self.font < 0:
            raise BadInput(f"{font} is not a usable SoundFont")

    def play(self, program: int, pitch: int, velocity: int, samples: int):
        """Returns a note, float32 `[samples]`, full scale 1."""
        self.synth.all_sounds_off(0)
        self.synth.get_samples(PAUSE)  # lets the note before fade
        self.synth.program_select(0, self.font, 0, program)
        self.synth.noteon(0, pitch, velocity)
        held = int(HELD * samples)
        parts = [self.synth.get_samples(held)]
        self.synth.noteoff(0, pitch)
        parts.append(self.synth.get_samples(samples - held))
        stereo = np.concatenate(parts).reshape(-1, 2).astype("float32")
        return stereo.mean(axis=1) / 32768.0

    def close(self):
        """Gives the synthesiser's memory back."""
        self.synth.delete()
