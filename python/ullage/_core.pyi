"""Compiled part of ullage. Use the package ullage."""

from typing import Annotated

from numpy.typing import NDArray


def cast(x: Annotated[NDArray, dict(device='cpu', writable=False)], source: str | None, to: str, out: Annotated[NDArray, dict(order='C', device='cpu')], rounding: str, saturate: bool, seed: int) -> dict:
    """
    Casts x, whose elements are its dtype's or codes of `source`, into out: codes of `to`, or FP32 values; returns the counts.
    """

def describe(format: str) -> tuple:
    """Name, bits, bytes in memory and largest finite value of a format."""
