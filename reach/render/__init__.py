"""Pictures of a reach: the table seen from above as an array, in a window, or as a film.

Reads a scene and never changes it; knows nothing of the simulation behind it.
"""

from reach.render.film import side_by_side, write_film
from reach.render.scene import Scene
from reach.render.table import draw
from reach.render.window import Window

__all__ = ["Scene", "Window", "draw", "side_by_side", "write_film"]
