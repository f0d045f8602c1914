"""Data: names become sources, sources become step-indexed streams."""

from tfgen.data.pairs import PairStream, load_pair
from tfgen.data.pipeline import Stream
from tfgen.data.sources import Data, load

__all__ = ["Data", "PairStream", "Stream", "load", "load_pair"]
