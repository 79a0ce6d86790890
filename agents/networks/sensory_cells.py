"""Fixed sensory cells: place cells for a seen position; colour receptors and cells of visual cortex (V1) for pictures.

Place cells have Gaussian receptive fields on a grid over the table. Simple cells are Gabor filters (Daugman 1985, J Opt
Soc Am A 2:1160) in eight orientations, rectified. A complex cell is the energy of two Gabor filters a quarter wave
apart (Adelson and Bergen 1985, J Opt Soc Am A 2:284). Divisive normalisation divides the activities by
their norm (Heeger 1992, Vis Neurosci 9:181). No cell here learns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from reach import LUMINANCE, TABLE_RGB
from reach.jit import kernel
from reach.play import exponential

Array = NDArray[np.float64]

# Area of the table that place cells cover: all cup positions, with a margin for prisms and rotations.
FIELD_X_M = (-0.14, 0.38)
FIELD_Y_M = (0.42, 0.68)
CELLS_X, CELLS_Y = 8, 6
# SD of the receptive field of a place cell.
WIDTH_M = 0.06


@kernel
def write_place_activity(centres, width_m, x, y, activity):  # type: ignore[no-untyped-def]
    """Write the activity of n place cells with centres (n, 2) m, for a position (x, y) m, to `activity[:n]`."""
    scale = -0.5 / (width_m * width_m)
    for k in range(len(centres)):
        right, forward = centres[k, 0] - x, centres[k, 1] - y
        activity[k] = exponential(scale * (right * right + forward * forward))


class PlaceCells:
    """A grid of 8 x 6 place cells, and an on-cell and an off-cell for each lamp.

    A place cell's activity is exp(-|x - centre|^2 / (2 width^2)) for a seen position x. An on-cell has an activity of 1
    while its lamp is on, else 0. An off-cell has an activity of 1 while its lamp is off, else 0.

    Attributes:
        centres: (48, 2) m, centres of the place cells' receptive fields.
        lamps: number of lamps.
    """

    CELLS_PER_LAMP: ClassVar[int] = 2

    def __init__(self, lamps: int = 0) -> None:
        """Lay out the centres on a grid."""
        x, y = np.meshgrid(np.linspace(*FIELD_X_M, CELLS_X), np.linspace(*FIELD_Y_M, CELLS_Y), indexing="ij")
        self.centres = np.stack([x.ravel(), y.ravel()], axis=1)
        self.lamps = lamps

    @property
    def size(self) -> int:
        """Return the number of cells."""
        return len(self.centres) + self.CELLS_PER_LAMP * self.lamps

    def activity(self, visual_input: Array) -> Array:
        """Return the activity (size,) for a seen position (x, y) m followed by the state of each lamp, 0 or 1."""
        activity = self._lamps_activity(visual_input[2:])
        write_place_activity(self.centres, WIDTH_M, float(visual_input[0]), float(visual_input[1]), activity)
        return activity

    def compiled(self, lamps: Array) -> tuple[Array, float, Array]:
        """Return `place_cells` of `run_reach`: centres (48, 2) m, width in m, and an array for the activity.

        Args:
            lamps: (lamps,) states, 0 or 1, in the reach that begins.
        """
        return self.centres, WIDTH_M, self._lamps_activity(lamps)

    def _lamps_activity(self, lamps: Array) -> Array:
        """Return an activity array (size,) with the lamp cells filled in; the place cells are still zero."""
        if len(lamps) != self.lamps:
            raise ValueError(f"visual input: expected {self.lamps} lamps, got {len(lamps)}")
        activity = np.zeros(self.size)
        activity[len(self.centres) :] = self._lamp_cells_activity(lamps)
        return activity

    def _lamp_cells_activity(self, lamps: Array) -> Array | float:
        """Return the activity of the lamp cells, (CELLS_PER_LAMP x lamps,), or one number if it is equal for all."""
        return np.concatenate([lamps, 1.0 - lamps])


# Activity of all lamp cells of `TimedCells`. An activity of 1 stands for 100 Hz, so this is a spike every 40 ms.
TIMED_ACTIVITY = 0.25
# Times of the first spikes in a reach, in periods of 40 ms. The volleys are 18 ms apart, almost in antiphase. Both fall
# into every second control step of 20 ms, so that after each control step all lamp cells have fired equally often.
FIRST_VOLLEY, SECOND_VOLLEY = 1.5 / 40.0, 19.5 / 40.0


class TimedCells(PlaceCells):
    """Place cells, and four on-cells and four off-cells for each lamp that encode its state in spike times.

    All lamp cells fire regularly at the same rate in every state of the lamps. On-cells of lamps that are on and
    off-cells of lamps that are off fire in the first of two volleys, the other lamp cells in the second. A lamp's state
    is thus encoded in the phase relative to a common rhythm (Hopfield 1995, Nature 376:33), and in which cells fire
    first (Thorpe, Delorme and Van Rullen 2001, Neural Networks 14:715). On-cells of two lamps in the same state fire in
    synchrony.
    """

    CELLS_PER_LAMP = 8

    def first_phases(self, lamps: Array) -> Array:
        """Return the phases (lamp cells,) in [0, 1) at the start of a reach; a cell fires when its phase reaches 1.

        Args:
            lamps: (lamps,) states, 0 or 1.
        """
        is_first = np.concatenate([lamps, 1.0 - lamps]) > 0.0
        first_spike = np.where(is_first, FIRST_VOLLEY, SECOND_VOLLEY)
        return np.tile(1.0 - first_spike, self.CELLS_PER_LAMP // 2)

    def _lamp_cells_activity(self, lamps: Array) -> Array | float:
        return TIMED_ACTIVITY


ORIENTATIONS = 8
# SD of the Gaussian envelope of a receptive field, in wavelengths; the bandwidth is about 1.5 octaves.
ENVELOPE_SD_WAVELENGTHS = 0.4
# Radius of a receptive field, in SDs of its envelope.
FIELD_RADIUS_SDS = 2.5
# Spatial scales of the cells: (wavelength, distance between neighbouring cells), as fractions of the picture's side.
SCALES = ((1.0 / 8.0, 1.0 / 16.0), (1.0 / 4.0, 1.0 / 8.0))
SMALLEST_PICTURE_PX = 32
# Euclidean norm of the activities after divisive normalisation.
NORM = 2.0
# Weights of the colours (red, green, blue) for red-green opponent cells.
RED_MINUS_GREEN = (1.0, -1.0, 0.0)
# Pooling averages complex cells over squares of 2 x 2 neighbouring places.
POOLED_PLACES = 2


class GaborFilters:
    """Even and odd Gabor filters of one wavelength, on a square grid of places (Daugman 1985, J Opt Soc Am A 2:1160).

    Attributes:
        filters: (n, n, 2 ORIENTATIONS), the even filters, then the odd ones. Their sum over pixels is 0.
    """

    def __init__(self, wavelength_px: float, step_px: int) -> None:
        """Compute the filters.

        Args:
            wavelength_px: wavelength of the filters, pixels.
            step_px: distance between neighbouring places, pixels.
        """
        self._step = step_px
        envelope = ENVELOPE_SD_WAVELENGTHS * wavelength_px
        radius = math.ceil(FIELD_RADIUS_SDS * envelope)
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
        window = np.exp(-(x * x + y * y) / (2.0 * envelope * envelope))
        window /= window.sum()
        bank = []
        for phase in (0.0, -0.5 * math.pi):
            for k in range(ORIENTATIONS):
                angle = math.pi * k / ORIENTATIONS
                wave = np.cos(2.0 * math.pi / wavelength_px * (x * math.cos(angle) + y * math.sin(angle)) + phase)
                bank.append(window * (wave - np.sum(window * wave)))
        self.filters = np.ascontiguousarray(np.stack(bank, axis=-1))

    def responses(self, contrast: Array) -> tuple[Array, Array]:
        """Return the responses of the even and of the odd filters, (ORIENTATIONS, places, places) each.

        Args:
            contrast: (size, size), 0 for the colour of the table; taken as 0 outside the picture.
        """
        places = (len(contrast) - 1) // self._step + 1
        responses = np.zeros((places, places, 2 * ORIENTATIONS))
        _add_responses(contrast, self.filters, self._step, responses)
        by_filter = np.moveaxis(responses, -1, 0)
        return by_filter[:ORIENTATIONS], by_filter[ORIENTATIONS:]


@kernel
def _add_responses(contrast, filters, step, responses):  # type: ignore[no-untyped-def]
    """Add the contribution of each pixel to the responses of all filters that cover it.

    Pixels of contrast 0 are skipped. Most of a picture is table, so this costs about 1 % of a full convolution.

    Args:
        contrast: (size, size).
        filters: (n, n, kinds), n odd.
        step: distance between neighbouring places, pixels.
        responses: (places, places, kinds), changed in place.
    """
    radius = filters.shape[0] // 2
    last = responses.shape[0] - 1
    for i in range(contrast.shape[0]):
        top, bottom = max(0, -((radius - i) // step)), min(last, (i + radius) // step)
        for j in range(contrast.shape[1]):
            value = contrast[i, j]
            if value == 0.0:
                continue
            left, right = max(0, -((radius - j) // step)), min(last, (j + radius) // step)
            for u in range(top, bottom + 1):
                for v in range(left, right + 1):
                    for kind in range(filters.shape[2]):
                        responses[u, v, kind] += value * filters[i - u * step + radius, j - v * step + radius, kind]


class PictureCells(ABC):
    """Base class of V1 cells that respond to a picture, with divisive normalisation.

    Attributes:
        retina_px: side of the pictures, pixels.
        size: number of cells.
    """

    SCALES: ClassVar[tuple[tuple[float, float], ...]] = SCALES

    def __init__(self, retina_px: int = 64) -> None:
        """Lay out the cells.

        Args:
            retina_px: side of the pictures, 32 or more.

        Raises:
            ValueError: `retina_px` is below 32.
        """
        if retina_px < SMALLEST_PICTURE_PX:
            raise ValueError(f"retina_px: expected {SMALLEST_PICTURE_PX} or more, got {retina_px}")
        self.retina_px = retina_px
        self._filters = [GaborFilters(wave * retina_px, round(step * retina_px)) for wave, step in self.SCALES]
        self.size = self._responses(np.zeros((retina_px, retina_px, 3))).size

    def activity(self, picture: Array) -> Array:
        """Return the activity (size,), 0 or more, for a picture (retina_px, retina_px, 3) of 0..255.

        Raises:
            ValueError: the picture has another shape.
        """
        _require_picture(picture, self.retina_px)
        return divisive_normalisation(self._responses(picture))

    @abstractmethod
    def _responses(self, picture: Array) -> Array:
        """Return the activity (size,) before normalisation."""


class V1Bank(PictureCells):
    """Simple and complex cells of two spatial scales that respond to luminance.

    Each place and orientation has one complex cell and four simple cells, with phases of 0, 90, 180 and 270 degrees.
    """

    def _responses(self, picture: Array) -> Array:
        contrast = _contrast(picture, LUMINANCE)
        cells: list[Array] = []
        for filters in self._filters:
            even, odd = filters.responses(contrast)
            simple = [np.maximum(response, 0.0) for response in (even, -even, odd, -odd)]
            cells += [response.ravel() for response in (*simple, np.hypot(even, odd))]
        return np.concatenate(cells)


class ComplexCells(PictureCells):
    """Complex cells of the finer spatial scale that respond to red minus green, averaged over neighbouring places.

    Such cells of V1 have oriented receptive fields in which red and green oppose each other, and respond to borders of
    colour (Johnson, Hawken and Shapley 2001, Nat Neurosci 4:409). They are few enough for a spiking network:
    (8 orientations, 8, 8 places), flattened.
    """

    SCALES = SCALES[:1]

    def _responses(self, picture: Array) -> Array:
        energy = np.hypot(*self._filters[0].responses(_contrast(picture, RED_MINUS_GREEN)))
        orientations, places, _ = energy.shape
        pools = places // POOLED_PLACES
        cropped = energy[:, : pools * POOLED_PLACES, : pools * POOLED_PLACES]
        pooled: Array = (
            cropped.reshape(orientations, pools, POOLED_PLACES, pools, POOLED_PLACES).mean(axis=(2, 4)).ravel()
        )
        return pooled


class Receptors:
    """Three colour receptors per pixel, adapted to the table: activity 0 for its colour or brighter, 1 for black.

    Attributes:
        size: number of receptors.
    """

    def __init__(self, retina_px: int = 64) -> None:
        """Lay out receptors for pictures with sides of `retina_px` pixels."""
        self.retina_px = retina_px
        self.size = 3 * retina_px * retina_px

    def activity(self, picture: Array) -> Array:
        """Return the activity, (3, retina_px, retina_px) flattened, for a picture (retina_px, retina_px, 3) of 0..255.

        Raises:
            ValueError: the picture has another shape.
        """
        _require_picture(picture, self.retina_px)
        darkness = np.maximum(1.0 - np.asarray(picture, dtype=np.float64) / TABLE_RGB, 0.0)
        return np.ascontiguousarray(darkness.transpose(2, 0, 1)).ravel()


def _contrast(picture: Array, weights: Sequence[float]) -> Array:
    """Return the weighted sum of the colours, (size, size), minus that of the table, with colours scaled to 0..1."""
    contrast: Array = (np.asarray(picture, dtype=np.float64) - TABLE_RGB) @ np.array(weights) / 255.0
    return contrast


def divisive_normalisation(cells: Array) -> Array:
    """Return activities (cells,) divided by their norm, times NORM (Heeger 1992, Vis Neurosci 9:181)."""
    normalised: Array = cells * (NORM / max(float(np.linalg.norm(cells)), 1e-9))
    return normalised


def _require_picture(picture: Array, retina_px: int) -> None:
    if picture.shape != (retina_px, retina_px, 3):
        raise ValueError(f"picture: expected shape {(retina_px, retina_px, 3)}, got {picture.shape}")
