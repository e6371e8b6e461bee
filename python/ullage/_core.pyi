"""Compiled part of ullage. Use the package ullage."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray


def version() -> str:
    """Of the library, as CMakeLists.txt has it."""

def cast(x: Annotated[NDArray, dict(device='cpu', writable=False)], source: str | None, to: str, out: Annotated[NDArray, dict(order='C', device='cpu')], rounding: str, saturate: bool, seed: int) -> dict:
    """
    Casts x, whose elements are its dtype's or codes of `source`, into out: codes of `to`, or FP32 values; returns the counts.
    """

def describe(format: str) -> tuple:
    """Name, bits, bytes in memory and largest finite value of a format."""

class Attention:
    """
    One attention problem on (batch, head, row, column) arrays of the caller.
    """

    def __init__(self, q: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu', writable=False)], k: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu', writable=False)], v: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu', writable=False)], bias: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu', writable=False)] | None, padding: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, sinks: Annotated[NDArray, dict(shape=(None,), device='cpu', writable=False)] | None, left: int, right: int, top_left: bool, scale: float, softcap: float, shift: str, seed: int, threads: int) -> None: ...

    def path(self) -> tuple[str, str]:
        """
        The fast kernel of this dtype and CPU, and why it does not do this problem: empty where it does.
        """

    def forward(self, output: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu')], log_sum_exp: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu')], rows: Annotated[NDArray[numpy.float64], dict(order='C', device='cpu')] | None, recipe: str | None) -> None:
        """
        Writes the outputs, by a recipe of the reference or without one by the fast kernels.
        """

    def backward(self, grad_output: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu', writable=False)], output: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu', writable=False)], log_sum_exp: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu', writable=False)], grad_q: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu')], grad_k: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu')], grad_v: Annotated[NDArray, dict(shape=(None, None, None, None), device='cpu')], grad_sinks: Annotated[NDArray, dict(shape=(None,), device='cpu')] | None, recipe: str | None) -> None:
        """Writes the gradients, from what forward wrote."""

def reduce_heads(rows: Annotated[NDArray[numpy.float64], dict(order='C', device='cpu', writable=False)], heads: Annotated[NDArray[numpy.float64], dict(order='C', device='cpu')]) -> None:
    """Reduces the row statistics of each head."""

def mask_band(mask: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, None), device='cpu', writable=False)], keep: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu')]) -> tuple[int | None, int | None] | None:
    """
    The first and last j - i that a mask lets through, and keep, the keys that are no padding; None where it is no such band.
    """

def cast_on_gpu(x: Annotated[NDArray, dict(device='cuda', writable=False)], source: str | None, to: str, out: Annotated[NDArray, dict(order='C', device='cuda')], rounding: str, saturate: bool, seed: int, stream: int, workspace: Annotated[NDArray[numpy.uint8], dict(order='C', device='cuda')] | None) -> object:
    """
    As cast, on arrays in a GPU's memory, ordered on the stream (a cudaStream_t). Counts need a workspace of cast_workspace_bytes, and wait for the stream; None without.
    """

def cast_workspace_bytes(elements: int) -> int:
    """Bytes that the counts of a cast of so many elements take on a GPU."""

def why_no_gpu() -> str | None:
    """Why no GPU can be used, in one sentence; None if one can."""

def pair_spectra(sides: Sequence[tuple[Annotated[NDArray, dict(shape=(None, None), device='cpu', writable=False)], int, int, Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, bool]], pairs: Sequence[tuple[int, int]]) -> list[tuple[float, float, float, float, float, float, bool, bool]]:
    """
    Certified spectra of pairs of heads. sides: (weight [rows, width], first row, rows, gain or None, whether row means are taken away); pairs: (query side, key side). A tuple a pair: sigma, its bound, |A|, bound, |B|, bound, finite, from FP64.
    """

class PowerIteration:
    """Warm power iteration of pairs."""

    def __init__(self, sides: Sequence[tuple[Annotated[NDArray, dict(shape=(None, None), device='cpu', writable=False)], int, int, Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, bool]], pairs: Sequence[tuple[int, int]]) -> None: ...

    def run(self, iterations: int) -> list[float]:
        """sigma of each pair, from below."""

class GpuSpectra:
    """pair_spectra on a GPU, refreshed at will."""

    def __init__(self, sides: Sequence[tuple[Annotated[NDArray, dict(shape=(None, None), device='cuda', writable=False)], int, int, Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cuda', writable=False)] | None, bool]], pairs: Sequence[tuple[int, int]]) -> None: ...

    def refresh(self, stream: int) -> None:
        """Launches what makes all figures anew on the stream (a cudaStream_t)."""

    def read(self, stream: int) -> list[tuple[float, float, float, float, float, float, bool, bool]]:
        """The figures, as pair_spectra gives them; waits for the stream."""

class GpuPowerIteration:
    """PowerIteration on a GPU."""

    def __init__(self, sides: Sequence[tuple[Annotated[NDArray, dict(shape=(None, None), device='cuda', writable=False)], int, int, Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cuda', writable=False)] | None, bool]], pairs: Sequence[tuple[int, int]]) -> None: ...

    def run(self, iterations: int, stream: int) -> None:
        """One launch on the stream (a cudaStream_t)."""

    def read(self, stream: int) -> list[float]:
        """sigma of each pair, from below; waits for the stream."""
