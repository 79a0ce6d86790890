"""Gabor filters over a picture: pairs of phases in eight orientations, compiled.

A filter answers to what differs from the table, and most of a picture is table: the sum goes over what is not, so that
it costs a hundredth of the same convolution.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agents.networks.compiled import kernel

Array = NDArray[np.float64]

ORIENTATIONS = 8
# Of a receptive field's Gaussian envelope, in wavelengths: a bandwidth of about an octave and a half.
ENVELOPE_WAVELENGTHS = 0.4
FIELD_ENVELOPES = 2.5


class GaborFilters:
    """Filters of one wavelength at places a few pixels apart (Daugman 1985, J Opt Soc Am A 2:1160).

    Attributes:
        filters: (n, n, 2 ORIENTATIONS), first the even ones, whose mean is taken out, then the odd ones.
    """

    def __init__(self, wavelength_px: float, step_px: int) -> None:
        """Lay out the filters.

        Args:
            wavelength_px: of the waves, pixels.
            step_px: between neighbouring places, pixels.
        """
        self._step = step_px
        envelope = ENVELOPE_WAVELENGTHS * wavelength_px
        reach = math.ceil(FIELD_ENVELOPES * envelope)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
        window = np.exp(-(x * x + y * y) / (2.0 * envelope * envelope))
        window /= window.sum()
        bank = []
        for phase in (0.0, -0.5 * math.pi):
            for k in range(ORIENTATIONS):
                angle = math.pi * k / ORIENTATIONS
                wave = np.cos(2.0 * math.pi / wavelength_px * (x * math.cos(angle) + y * math.sin(angle)) + phase)
                bank.append(window * (wave - np.sum(window * wave)))
        self.filters = np.ascontiguousarray(np.stack(bank, axis=-1))

    def answers(self, contrast: Array) -> tuple[Array, Array]:
        """Answers of the even and of the odd filters, (ORIENTATIONS, places, places) each.

        Args:
            contrast: (size, size), 0 where the picture is as the table; beyond its edges all is table.
        """
        places = (len(contrast) - 1) // self._step + 1
        found = np.zeros((places, places, 2 * ORIENTATIONS))
        _add_answers(contrast, self.filters, self._step, found)
        whole = np.moveaxis(found, -1, 0)
        return whole[:ORIENTATIONS], whole[ORIENTATIONS:]


@kernel
def _add_answers(contrast, filters, step, found):  # type: ignore[no-untyped-def]
    """Add to every filter's answer what each pixel brings.

    Args:
        contrast: (size, size).
        filters: (n, n, kinds), n odd.
        step: between neighbouring places, pixels.
        found: (places, places, kinds), added to.
    """
    reach = filters.shape[0] // 2
    last = found.shape[0] - 1
    for i in range(contrast.shape[0]):
        top, bottom = max(0, -((reach - i) // step)), min(last, (i + reach) // step)
        for j in range(contrast.shape[1]):
            value = contrast[i, j]
            if value == 0.0:
                continue
            left, right = max(0, -((reach - j) // step)), min(last, (j + reach) // step)
            for u in range(top, bottom + 1):
                for v in range(left, right + 1):
                    for kind in range(filters.shape[2]):
                        found[u, v, kind] += value * filters[i - u * step + reach, j - v * step + reach, kind]
