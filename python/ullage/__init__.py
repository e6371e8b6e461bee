"""Numerical headroom of attention in low precision.

cast(x, "e4m3") rounds numpy arrays and PyTorch CPU tensors to any low-precision format, bit-exact and at memory speed.
"""

from ._cast import Counts, cast

__all__ = ["Counts", "cast"]
__version__ = "0.1.0"
