"""Numerical headroom of attention in low precision.

cast(x, "e4m3") rounds arrays to any low-precision format, bit-exact and at memory speed; spectra(Heads(...)) says how
large W_Q^T W_K of every head is. Both take numpy arrays and PyTorch tensors, on the CPU or a GPU.
"""

from ._cast import Counts, cast
from ._spectra import Heads, HeadSpectra, PowerIteration, Spectra, spectra

__all__ = ["Counts", "HeadSpectra", "Heads", "PowerIteration", "Spectra", "cast", "spectra"]
__version__ = "0.1.0"
