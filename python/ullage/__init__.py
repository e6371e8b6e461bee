"""Numerical headroom of attention in low precision.

cast(x, "e4m3") rounds numpy arrays and PyTorch CPU tensors to any low-precision format, bit-exact and at memory speed.
torch.attention is scaled_dot_product_attention with a softmax that stays unbiased in BF16; huggingface makes it an
attention implementation by the name "ullage". Both are imported on first use: this package alone needs only numpy.
"""

import importlib

from ._cast import Counts, cast

__all__ = ["Counts", "cast"]
__version__ = "0.1.0"


def __getattr__(name):
    if name in ("torch", "huggingface"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
