"""ullage.Spectra and ullage.PowerIteration: how large W_Q^T W_K of every head is, from weights in memory."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._cast import needs_memory


@dataclasses.dataclass(frozen=True)
class Heads:
    """The query and key projections of one attention layer, as stored.

    query: weight [heads * head_dim, width]; key: weight [kv_heads * head_dim, width]. Rows of one head are neighbours;
        query head h reads key head h // (heads // kv_heads). bfloat16, float32 or float64: PyTorch tensors or CuPy arrays
        on one GPU, or PyTorch CPU tensors or numpy arrays (bfloat16 as ml_dtypes has it). Rows are contiguous.
    query_gain, key_gain: of the norm before the projection, one number a column; None: ones. key_gain=None with a
        query_gain given means the same norm for both.
    layer_norm: a LayerNorm stands there, whose output has no mean: each row's mean is taken away.
    """

    query: Any
    key: Any
    heads: int
    kv_heads: int | None = None
    query_gain: Any = None
    key_gain: Any = None
    layer_norm: bool = False


@dataclasses.dataclass(frozen=True)
class HeadSpectra:
    """Arrays of float64, one number a query head. A: its folded rows, B: those of its key head. NaN where not finite.

    sigma, query_norm, key_norm: |A^T B|_2, |A|_2, |B|_2, estimates good to 1e-5 |A||B|.
    sigma_bound, query_bound, key_bound: certificates: no exact value is above.
    finite: no weight or gain of the head is NaN or infinite. precise: FP32 could not resolve it, FP64 did.
    """

    sigma: np.ndarray
    sigma_bound: np.ndarray
    query_norm: np.ndarray
    query_bound: np.ndarray
    key_norm: np.ndarray
    key_bound: np.ndarray
    finite: np.ndarray
    precise: np.ndarray


class Spectra:
    """Certified spectra of the heads of some layers, made anew whenever refresh() is called.

    layers: one Heads or several, all in the CPU's memory or all on one GPU. Weights and gains are read in place at every
    refresh, so in-place updates (an optimizer's step) are seen; arrays that are replaced need a new Spectra.
    On a GPU all heads of all layers take a few launches on the current stream; read() waits for it, refresh() does not.
    """

    def __init__(self, layers: Heads | Sequence[Heads]):
        self._plan = _Plan("ullage.Spectra", layers)
        self._gpu = self._plan.call(_core.GpuSpectra, self._plan.sides, self._plan.pairs) if self._plan.gpu else None
        self._figures = None

    def refresh(self) -> None:
        """Makes all figures anew: on a GPU queued on the current stream, else done on return."""
        self._plan.follow_gains()
        if self._gpu is not None:
            self._plan.call(self._gpu.refresh, self._plan.stream())
            self._figures = ()  # on their way
        else:
            self._figures = self._plan.call(_core.pair_spectra, self._plan.sides, self._plan.pairs)

    def read(self) -> list[HeadSpectra]:
        """The figures of the last refresh, one HeadSpectra a layer."""
        if self._figures is None:
            raise RuntimeError("ullage.Spectra: read: nothing is there before the first refresh()")
        figures = self._figures if self._gpu is None else self._plan.call(self._gpu.read, self._plan.stream())
        columns = [np.array(column) for column in zip(*figures, strict=True)]
        return [HeadSpectra(*(column[part] for column in columns)) for part in self._plan.parts]


def spectra(layers: Heads | Sequence[Heads]) -> HeadSpectra | list[HeadSpectra]:
    """Certified spectra of every head: HeadSpectra of one Heads, or a list for several. See Spectra."""
    made = Spectra(layers)
    made.refresh()
    found = made.read()
    return found[0] if isinstance(layers, Heads) else found


class PowerIteration:
    """sigma of every head by implicit power iteration ([R] arXiv 2602.18851), warm from one call to the next.

    An estimate from below, never a certificate; gains and layer_norm are ignored, as published. Weights are read in place,
    so after a small step an iteration or two are enough. On a GPU one launch on the current stream serves all layers.
    """

    def __init__(self, layers: Heads | Sequence[Heads]):
        self._plan = _Plan("ullage.PowerIteration", layers, gains=False)
        self._gpu = self._plan.gpu
        kind = _core.GpuPowerIteration if self._gpu else _core.PowerIteration
        self._iteration = self._plan.call(kind, self._plan.sides, self._plan.pairs)
        self._figures = None

    def run(self, iterations: int = 1) -> None:
        """Goes on from where the last run ended: on a GPU queued on the current stream, else done on return."""
        if isinstance(iterations, bool) or not isinstance(iterations, int) or not 0 <= iterations < 1 << 31:
            raise ValueError(f"ullage.PowerIteration: iterations: a number from 0 is needed, not {iterations!r}")
        if self._gpu:
            self._plan.call(self._iteration.run, iterations, self._plan.stream())
            self._figures = ()  # on their way
        else:
            self._figures = self._plan.call(self._iteration.run, iterations)

    def read(self) -> list[np.ndarray]:
        """sigma after the last run, one array a layer, one number a query head; NaN where not finite."""
        if self._figures is None:
            raise RuntimeError("ullage.PowerIteration: read: nothing is there before the first run()")
        figures = self._plan.call(self._iteration.read, self._plan.stream()) if self._gpu else self._figures
        return [np.array(figures)[part] for part in self._plan.parts]


class _Plan:
    """Layers as the compiled functions take them: sides, pairs, and which pairs are a layer's."""

    def __init__(self, name, layers, gains=True):
        self._name = name
        layers = [layers] if isinstance(layers, Heads) else list(layers)
        if not layers or not all(isinstance(layer, Heads) for layer in layers):
            raise TypeError(f"{name}: layers: one ullage.Heads or several are needed")
        self.sides, self.pairs, self.parts = [], [], []
        self._gains = []  # (as given, as FP64) of those that are followed
        self._wide = {}  # id of a gain: it, and it as FP64; the two sides of a layer mostly share one
        self._places = set()
        for layer in layers:
            self._add(layer, gains)
        if len(self._places) > 1:
            raise ValueError(
                f"{name}: layers: all weights lie in one memory, not on {' and '.join(sorted(self._places))}"
            )
        self.gpu = self._places != {"cpu"}
        if self.gpu and (why := _core.why_no_gpu()):
            raise RuntimeError(f"{name}: {why}")

    def _add(self, layer, gains):
        kv_heads = layer.heads if layer.kv_heads is None else layer.kv_heads
        if layer.heads < 1 or kv_heads < 1 or layer.heads % kv_heads:
            raise ValueError(f"{self._name}: heads: {kv_heads} key heads do not share out {layer.heads} query heads")
        key_gain = layer.query_gain if layer.key_gain is None else layer.key_gain
        first = len(self.sides)
        for name, weight, heads, gain in (
            ("query", layer.query, layer.heads, layer.query_gain),
            ("key", layer.key, kv_heads, key_gain),
        ):
            weight = self._array(name, weight)
            if weight.ndim != 2 or weight.shape[0] % heads:
                raise ValueError(
                    f"{self._name}: {name}: a weight of {heads} heads has 2 dimensions and a multiple of "
                    f"{heads} rows, not the shape {tuple(weight.shape)}"
                )
            gain = self._gain(name, gain) if gains and gain is not None else None
            rows = weight.shape[0] // heads
            self.sides += [(weight, h * rows, rows, gain, bool(gains and layer.layer_norm)) for h in range(heads)]
        group = layer.heads // kv_heads
        self.parts.append(slice(len(self.pairs), len(self.pairs) + layer.heads))
        self.pairs += [(first + h, first + layer.heads + h // group) for h in range(layer.heads)]

    def _array(self, name, x):
        torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
        if torch is not None and isinstance(x, torch.Tensor):
            needs_memory(self._name, name, x)
            self._places.add(str(x.device) if x.device.type == "cuda" else x.device.type)
            return x.detach()
        if cupy is not None and isinstance(x, cupy.ndarray):
            self._places.add(f"cuda:{x.device.id}")
            return x
        if not isinstance(x, np.ndarray):
            raise TypeError(
                f"{self._name}: {name}: a PyTorch tensor, a numpy or a CuPy array is needed, not {type(x).__name__}"
            )
        self._places.add("cpu")
        return x.view(np.uint16) if x.dtype.name == "bfloat16" else x

    def _gain(self, name, gain):
        if id(gain) in self._wide:
            return self._wide[id(gain)][1]
        array = self._array(f"{name}_gain", gain)
        if array.ndim != 1:
            raise ValueError(
                f"{self._name}: {name}_gain: one number a column is needed, not the shape {tuple(array.shape)}"
            )
        # A bfloat16 array of numpy is read as such, not as its bits.
        source = gain if isinstance(gain, np.ndarray) else array
        wide = source.double().contiguous() if hasattr(source, "double") else source.astype("float64")
        if wide is not source:
            self._gains.append((source, wide))
        self._wide[id(gain)] = gain, wide
        return wide

    def follow_gains(self):
        for source, wide in self._gains:
            wide[...] = source

    def stream(self):
        torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
        device = int(next(iter(self._places)).removeprefix("cuda:") or 0)
        if torch is not None and any(isinstance(side[0], torch.Tensor) for side in self.sides):
            return torch.cuda.current_stream(device).cuda_stream
        with cupy.cuda.Device(device):
            return cupy.cuda.get_current_stream().ptr

    def call(self, function, *arguments):
        try:
            return function(*arguments)
        except (TypeError, ValueError, MemoryError, RuntimeError) as error:
            raise type(error)(f"{self._name}: {error}") from None
