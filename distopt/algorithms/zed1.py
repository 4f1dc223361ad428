"""zed1: zooming exact diffusion with one bit a coordinate."""

from typing import ClassVar

from distopt.algorithms.zed import Zed
from distopt.core.parameters import parameters


@parameters("algorithm")
class Zed1(Zed):
    """Zooming exact diffusion with one bit a coordinate (ours; no proof, measured); docs: zed1.

    The update of zed with the compressor zoom_sign, which needs no coder, and smaller gains.
    """

    compressor = "zoom_sign"
    constants: ClassVar = Zed.constants | {"omega": 0.4, "c0": 0.55, "c1": 0.44, "alpha": 0.87}
