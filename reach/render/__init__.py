"""Pictures of scenes of the world (`reach.scene`) and snapshots of learners (`reach.snapshot`): arrays, windows, films.

The renderer reads scenes and snapshots without changing them.
"""

import os

# Must be set before the first import of pygame in this package.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

from reach.render.film import side_by_side, write_film
from reach.render.panels import BlockSpan, ErrorHistory, LearnerView, Panels, compose
from reach.render.table import draw
from reach.render.window import Window
from reach.scene import Scene
from reach.snapshot import ErrorPath, Layer, LayerSignal, Population, Snapshot

__all__ = [
    "BlockSpan",
    "ErrorHistory",
    "ErrorPath",
    "Layer",
    "LayerSignal",
    "LearnerView",
    "Panels",
    "Population",
    "Scene",
    "Snapshot",
    "Window",
    "compose",
    "draw",
    "side_by_side",
    "write_film",
]
