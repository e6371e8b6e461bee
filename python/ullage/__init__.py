"""Numerical headroom of attention in low precision.

cast(x, "e4m3") rounds arrays to any low-precision format, bit-exact and at memory speed; spectra(Heads(...)) says how
large W_Q^T W_K of every head is. Both take numpy arrays and PyTorch tensors, on the CPU or a GPU.
torch.attention is scaled_dot_product_attention with a softmax that stays unbiased in BF16; huggingface makes it an
attention implementation by the name "ullage". Both are imported on first use: this package alone needs only numpy.
"""

import importlib

from ._cast import Counts, cast
from ._core import version as _version
from ._spectra import Heads, HeadSpectra, PowerIteration, Spectra, spectra

__all__ = ["Counts", "HeadSpectra", "Heads", "PowerIteration", "Spectra", "cast", "spectra"]
__version__ = _version()


def __getattr__(name):
    if name in ("torch", "huggingface"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
