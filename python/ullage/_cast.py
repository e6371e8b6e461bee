"""ullage.cast: arguments checked and named, then one call of the compiled cast."""

import dataclasses
import sys
from typing import Any

import numpy as np

from . import _core

# Our names and those of ml_dtypes and PyTorch. PyTorch packs two E2M1 codes a byte, which is another shape, and has
# no other narrower than a byte.
_ML_DTYPES = {
    "e4m3": "float8_e4m3fn",
    "e4m3fnuz": "float8_e4m3fnuz",
    "e5m2": "float8_e5m2",
    "e5m2fnuz": "float8_e5m2fnuz",
    "e8m0": "float8_e8m0fnu",
    "e2m1": "float4_e2m1fn",
    "e2m3": "float6_e2m3fn",
    "e3m2": "float6_e3m2fn",
    "bf16": "bfloat16",
}
_TORCH_DTYPES = {
    "e4m3": "float8_e4m3fn",
    "e4m3fnuz": "float8_e4m3fnuz",
    "e5m2": "float8_e5m2",
    "e5m2fnuz": "float8_e5m2fnuz",
    "e8m0": "float8_e8m0fnu",
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp32": "float32",
}
_FORMATS = {name: ours for ours, name in _ML_DTYPES.items()}
_CUPY_FORMATS = ("fp16", "fp32")  # that have a dtype there
_NATIVE = ("float16", "float32", "float64")
_DLPACK_HOSTS = (1, 3)  # kDLCPU; kDLCUDAHost, which is host memory too
_DLPACK_CUDA = 2
_INTEGERS = {1: "uint8", 2: "uint16"}


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a cast met on its way. amax and mean_error are in the units of x."""

    elements: int
    nan: int  # NaN among the inputs
    saturated: int  # inputs, infinities too, whose rounding lies past the largest finite value
    flushed: int  # inputs not zero that became zero
    amax: float  # largest magnitude among the inputs, NaN left out
    mean_error: float  # mean of (result - x), NaN and saturated left out: near 0 unless rounding is biased


def cast(
    x: Any,
    format: str,
    rounding: str = "nearest",
    saturate: bool = True,
    seed: int = 0,
    counts: bool = False,
) -> Any:
    """x rounded once to a low-precision format, element by element.

    x: a numpy array (float16, float32, float64, or a dtype of ml_dtypes), a PyTorch tensor on the CPU or on a CUDA
        device, a CuPy array, or any other array in CPU memory that speaks DLPack; any strides. It is read where it
        lies, never copied first. On a GPU the cast joins the library's current stream and nothing waits for it,
        unless counts are asked for; the bits are the CPU's.
    format: "e4m3", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0", "e2m1", "e2m3", "e3m2", "fp16", "bf16", "tf32", "fp32", or
        one of your own: "e3m4", "e3m4:bias=3,nan=all-ones,infinity=no,subnormals=no", "e4m3:subnormals=no". What stands
        after the colon changes the named format, or an IEEE one of so many bits.
    rounding: "nearest" (ties to even), "nearest-away", "toward-zero", "up", "down" or "stochastic".
    saturate: past the largest finite value, that value; with False infinity, or NaN where the format has no infinity.
    seed: of stochastic rounding; the bits depend on it and on each element's place alone.
    counts: also return Counts.

    Returns an array of x's kind (numpy for other DLPack arrays), shape and device, in ml_dtypes' or PyTorch's dtype where
    there is one, else the values in float32; with counts=True a pair of it and Counts. No gradient flows through it.
    """
    if not isinstance(format, str):
        raise TypeError(f"ullage.cast: format: a name such as 'e4m3' is needed, not {type(format).__name__}")
    if not isinstance(rounding, str):
        raise TypeError(f"ullage.cast: rounding: a name such as 'nearest' is needed, not {type(rounding).__name__}")
    for name, value in (("saturate", saturate), ("counts", counts)):
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"ullage.cast: {name}: True or False is needed, not {value!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"ullage.cast: seed: an integer is needed, not {type(seed).__name__}")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"ullage.cast: seed: 0 to 2**64 - 1 is needed, not {seed}")
    try:
        _, _, width, _ = _core.describe(format)
    except ValueError as error:
        raise ValueError(f"ullage.cast: {error}") from None

    torch = sys.modules.get("torch")
    cupy = sys.modules.get("cupy")
    workspace = None
    stream = None  # on the CPU
    if torch is not None and isinstance(x, torch.Tensor):
        source, elements, out, result = _from_torch(torch, x, format, width)
        if x.device.type == "cuda":
            stream = torch.cuda.current_stream(x.device).cuda_stream
            if counts:
                workspace = torch.empty(_core.cast_workspace_bytes(x.numel()), dtype=torch.uint8, device=x.device)
    elif cupy is not None and isinstance(x, cupy.ndarray):
        _needs_gpu()
        with x.device:
            source, elements, out, result = _from_arrays(cupy, x, format, width)
            stream = cupy.cuda.get_current_stream().ptr
            if counts:
                workspace = cupy.empty(_core.cast_workspace_bytes(x.size), cupy.uint8)
    else:
        source, elements, out, result = _from_arrays(np, _as_numpy(x), format, width)
    arguments = (elements, source, format, out, rounding, bool(saturate), int(seed))
    try:
        found = _core.cast(*arguments) if stream is None else _core.cast_on_gpu(*arguments, stream, workspace)
    except (TypeError, ValueError, MemoryError, RuntimeError) as error:
        raise type(error)(f"ullage.cast: {error}") from None
    return (result, Counts(**found)) if counts else result


def _needs_gpu():
    if why := _core.why_no_gpu():
        raise RuntimeError(f"ullage.cast: {why}")


def _as_numpy(x):
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            "ullage.cast: x: a masked array's hidden values would be cast too; pass x.filled(...) or x.data"
        )
    if isinstance(x, (np.ndarray, np.generic)):
        return np.asarray(x)
    if not hasattr(x, "__dlpack__"):
        raise TypeError(
            f"ullage.cast: x: a numpy array, a PyTorch tensor or another DLPack array is needed, not {type(x).__name__}"
        )
    try:
        device = int(x.__dlpack_device__()[0])
        if device == _DLPACK_CUDA:
            raise BufferError("it is on a GPU; pass torch.from_dlpack(x) or cupy.from_dlpack(x)")
        if device not in _DLPACK_HOSTS:
            raise BufferError(f"DLPack device type {device} is no host memory")
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise type(error)(
            f"ullage.cast: x: {type(x).__name__} gave no array of floats in CPU memory: {error}"
        ) from None


def _from_arrays(library, x, format, width):
    """(format of the codes or None, elements, memory to write, the result that is a view of it), of numpy or CuPy"""
    source = None
    if x.dtype.name in _FORMATS:
        source = _FORMATS[x.dtype.name]
        x = x.view(_INTEGERS[x.dtype.itemsize])
    elif x.dtype.name not in _NATIVE:
        raise TypeError(f"ullage.cast: x: dtype {x.dtype} is not supported; convert it to float32 or float64 first")
    elif not x.dtype.isnative:
        raise TypeError(f"ullage.cast: x: dtype {x.dtype.str} is not in this machine's byte order")
    if any(stride % x.itemsize for stride in x.strides):
        raise ValueError(
            f"ullage.cast: x: strides {x.strides} are no multiples of the element's {x.itemsize} bytes; "
            "pass numpy.ascontiguousarray(x)"
        )
    if x.ndim > 32:
        raise ValueError(f"ullage.cast: x: shape has {x.ndim} dimensions, at most 32 are supported")
    result_dtype = _numpy_dtype(format) if library is np or format in _CUPY_FORMATS else None
    if result_dtype is None:
        out = library.empty(x.shape, np.float32)
        return source, x, out, out
    out = library.empty(x.shape, f"uint{8 * width}" if result_dtype.itemsize == width else result_dtype)
    return source, x, out, out.view(result_dtype)


def _numpy_dtype(format):
    """The dtype of a format's codes, or None."""
    if format in ("fp16", "fp32"):
        return np.dtype("float16" if format == "fp16" else "float32")
    name = _ML_DTYPES.get(format)
    if name is None:
        return None
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else None


def needs_memory(call, name, x):
    """Refuses PyTorch tensors that stand for others: fake ones, and those within vmap, grad, functionalize and traces."""
    try:  # a fake tensor's data_ptr() warns
        found = type(x).__name__ != "FakeTensor" and (x.data_ptr() != 0 or x.numel() == 0)
    except RuntimeError:
        found = False
    if not found:
        raise TypeError(
            f"{call}: {name}: the tensor has no memory: it is fake or on meta, or stands for another within "
            "torch.func or a trace; pass a real one"
        )


def _from_torch(torch, x, format, width):
    if x.layout != torch.strided:
        raise TypeError(f"ullage.cast: x: a dense tensor is needed, not {x.layout}; pass x.to_dense()")
    if x.device.type == "cuda":
        _needs_gpu()
    elif x.device.type != "cpu":
        raise ValueError(f"ullage.cast: x: the tensor is on {x.device}; pass x.cpu()")
    needs_memory("ullage.cast", "x", x)
    x = x.detach()
    source = None
    for ours, name in _TORCH_DTYPES.items():
        if name.startswith("float8") and x.dtype == getattr(torch, name, None):
            source = ours
            x = x.view(torch.uint8)
    if source is None and x.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(f"ullage.cast: x: dtype {x.dtype} is not supported; convert it to torch.float32 first")
    if x.dim() > 32:
        raise ValueError(f"ullage.cast: x: shape has {x.dim()} dimensions, at most 32 are supported")
    if x.is_neg() or x.is_conj():
        x = x.resolve_neg()
    name = _TORCH_DTYPES.get(format)
    dtype = getattr(torch, name) if name is not None and hasattr(torch, name) else None
    if dtype is None or width == 4:
        out = _empty_tensor(torch, x, torch.float32)
        return source, x, out, out
    out = _empty_tensor(torch, x, torch.uint8 if width == 1 else torch.int16)
    return source, x, out, out.view(dtype)


def _empty_tensor(torch, x, dtype):
    """numpy asks for large pages where PyTorch does not: filling them for the first time takes half as long."""
    if x.device.type == "cuda":
        return torch.empty(x.shape, dtype=dtype, device=x.device)
    return torch.from_numpy(np.empty(tuple(x.shape), str(dtype).removeprefix("torch.")))
