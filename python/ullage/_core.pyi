"""Compiled part of ullage. Use the package ullage."""

from typing import Annotated

import numpy
from numpy.typing import NDArray


def cast(x: Annotated[NDArray, dict(device='cpu', writable=False)], source: str | None, to: str, out: Annotated[NDArray, dict(order='C', device='cpu')], rounding: str, saturate: bool, seed: int) -> dict:
    """
    Casts x, whose elements are its dtype's or codes of `source`, into out: codes of `to`, or FP32 values; returns the counts.
    """

def describe(format: str) -> tuple:
    """Name, bits, bytes in memory and largest finite value of a format."""

def cast_on_gpu(x: Annotated[NDArray, dict(device='cuda', writable=False)], source: str | None, to: str, out: Annotated[NDArray, dict(order='C', device='cuda')], rounding: str, saturate: bool, seed: int, stream: int, workspace: Annotated[NDArray[numpy.uint8], dict(order='C', device='cuda')] | None) -> object:
    """
    As cast, on arrays in a GPU's memory, ordered on the stream (a cudaStream_t). Counts need a workspace of cast_workspace_bytes, and wait for the stream; None without.
    """

def cast_workspace_bytes(elements: int) -> int:
    """Bytes that the counts of a cast of so many elements take on a GPU."""

def why_no_gpu() -> str | None:
    """Why no GPU can be used, in one sentence; None if one can."""
