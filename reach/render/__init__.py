"""Pictures of a reach: the table seen from above as an array, in a window, or as a film; and panels beside it.

Reads a scene and never changes it; knows nothing of the simulation behind it.
"""

from reach.render.film import side_by_side, write_film
from reach.render.inside import Arrival, Inside, Layer, Population, Travel
from reach.render.panels import Moment, Panels, compose
from reach.render.scene import Scene
from reach.render.story import BlockSpan, Story
from reach.render.table import draw
from reach.render.window import Window

__all__ = [
    "Arrival",
    "BlockSpan",
    "Inside",
    "Layer",
    "Moment",
    "Panels",
    "Population",
    "Scene",
    "Story",
    "Travel",
    "Window",
    "compose",
    "draw",
    "side_by_side",
    "write_film",
]
