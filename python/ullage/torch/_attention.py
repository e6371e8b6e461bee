"""ullage.torch.attention: arguments checked and named, then one call of the operator."""

import math
import numbers
from typing import Any, NamedTuple

import torch
from torch.autograd import forward_ad
from torch.nn.attention.bias import CausalBias, CausalVariant

from . import _operator
from ._statistics import AttentionStatistics

# "stabilised" needs no setting: its offsets are a hash of (SEED, batch, head, position, the query's numbers), so there is no
# state, and the same tensors give the same bits on every call and thread count.
SOFTMAXES = ("standard", "published", "stabilised")
SEED = 0
MAX_WIDTH = 256
_NO_LIMIT = -1
# Private to PyTorch: without it torch.func's own error stands, which tells of autograd.Function.
_is_of_torch_func = getattr(getattr(torch._C, "_functorch", None), "is_gradtrackingtensor", lambda tensor: False)
_MOST_KEYS = 2**62  # of a window: as good as all
_LEAST_CAP, _MOST_CAP = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max


class AttentionPath(NamedTuple):
    """path: "avx512_bf16", "avx512", "avx2", or "reference", some hundred times slower; reason: why that one, or ""."""

    path: str
    reason: str


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    softmax: str = "stabilised",
    window: int | tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    return_statistics: bool = False,
) -> Any:
    """softmax(softcap tanh(scale Q K^T / softcap) + mask) V, as torch's scaled_dot_product_attention, in linear memory.

    query (..., Hq, L, E), key (..., Hkv, S, E), value (..., Hkv, S, Ev): CPU tensors of one dtype, any strides, E and Ev
        at most 256. FP32 and BF16 take the fast kernels; FP16 and FP64 the reference. Leading dimensions broadcast.
    attn_mask: True where a query sees a key, or numbers added to the scores (query's dtype, no gradient), which hide a
        key from half of finfo.min down and else count in the statistics as part of the scores; broadcasts to
        (..., Hq, L, S). The fast kernels do boolean masks that are, for all heads, a band around a diagonal (causal, a
        window) and padding, and the causal biases of torch.nn.attention.bias; all others are the reference's.
    dropout_p: 0; there is no dropout.
    is_causal: query i sees the keys up to i; with attn_mask both hold. Keys beyond L are as PyTorch has it: the
        diagonal starts at key 0.
    scale: default 1 / sqrt(E).
    enable_gqa: let Hkv divide Hq; query head h reads kv head h // (Hq / Hkv). Nothing is repeated in memory.
    softmax: "stabilised": where a row's maximum is repeated, subtract a little more than it, so that BF16 roundings do
        not all go one way ([F], arXiv 2510.04212; exact arithmetic gives the same output). "standard": the maximum.
        "published": [F]'s own rule with beta 2, by the reference. Deterministic all three: see docs/attention.md.
    window: keys seen around the diagonal: an int w for the last w up to itself, or a pair (before, after), None for all.
    softcap: Gemma 2's cap, after the scale and before the mask; a normal number of FP32.
    sinks: (Hq): one more score a head that takes part in the softmax without a value; by the reference.
    return_statistics: also return AttentionStatistics, from the same pass.

    Rows that see no key are 0. Gradients of query, key, value and sinks; no second derivatives, none by forward mode
    or torch.func.
    Works inside torch.compile without a graph break, and under autocast, which casts query, key and value.
    Raises TypeError or ValueError that starts with the argument's name; NotImplementedError for CUDA tensors and for
    derivatives that are not there.
    """
    if not isinstance(return_statistics, bool):
        raise TypeError(_named("return_statistics", f"True or False is needed, not {return_statistics!r}"))
    lead, problem = arguments(
        query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, softmax, window, softcap, sinks
    )
    output, _, rows = torch.ops.ullage.attention(*problem, return_statistics)
    output = _unflatten(output, lead, query.dim())
    if not return_statistics:
        return output
    return output, AttentionStatistics(*_unflatten(rows, lead, query.dim()).unbind(-1))


def attention_path(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    softmax: str = "stabilised",
    window: int | tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    return_statistics: bool = False,
) -> AttentionPath:
    """Which path attention() takes for these arguments on this CPU, and why it is not a fast one. Computes nothing."""
    _, problem = arguments(
        query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, softmax, window, softcap, sinks
    )
    return AttentionPath(*_operator.path(*problem))


def _named(argument, message):
    return f"ullage.torch.attention: {argument}: {message}"


class Problem(NamedTuple):
    """The operator's arguments but the last: see _operator."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    band: torch.Tensor
    bias: torch.Tensor | None
    padding: torch.Tensor | None
    sinks: torch.Tensor | None
    scale: float
    softcap: float
    softmax: str
    seed: int


def arguments(
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    enable_gqa=False,
    softmax="stabilised",
    window=None,
    softcap=None,
    sinks=None,
):
    """attention()'s arguments, checked: the output's leading dimensions, and the Problem."""
    _check_tensors(query, key, value)
    if not isinstance(dropout_p, numbers.Real) or dropout_p != 0:
        raise ValueError(_named("dropout_p", f"there is no dropout, 0 is needed, not {dropout_p!r}"))
    for name, flag in (("is_causal", is_causal), ("enable_gqa", enable_gqa)):
        if not isinstance(flag, bool):
            raise TypeError(_named(name, f"True or False is needed, not {flag!r}"))
    if softmax not in SOFTMAXES:
        raise ValueError(_named("softmax", f"one of {', '.join(SOFTMAXES)} is needed, not {softmax!r}"))
    scale = 1 / math.sqrt(query.size(-1)) if scale is None else _number("scale", scale)
    softcap = 0.0 if softcap is None else _number("softcap", softcap)
    if softcap != 0 and not _LEAST_CAP <= softcap <= _MOST_CAP:
        raise ValueError(_named("softcap", f"a positive number or None is needed, within FP32, not {softcap}"))

    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        query, key, value = (_autocast(x) for x in (query, key, value))
        if isinstance(attn_mask, torch.Tensor) and attn_mask.is_floating_point():
            attn_mask = _autocast(attn_mask)
    _check_agreement(query, key, value)
    lead, query, key, value = _flatten(query, key, value)
    heads, kv_heads = query.size(1), key.size(1)
    if heads != kv_heads and not enable_gqa:
        raise ValueError(_named("enable_gqa", f"query has {heads} heads and key {kv_heads}: pass enable_gqa=True"))
    if heads != kv_heads and (kv_heads == 0 or heads % kv_heads != 0):
        raise ValueError(_named("key", f"{kv_heads} heads do not divide query's {heads}"))

    left, right = _window(window)
    if is_causal:
        right = 0
    offset = 0
    bias = padding = None
    if isinstance(attn_mask, CausalBias):
        if is_causal:
            raise ValueError(_named("is_causal", "attn_mask is a causal bias already: pass False"))
        sizes = attn_mask.seq_len_q, attn_mask.seq_len_kv
        if sizes != (query.size(2), key.size(2)):
            raise ValueError(
                _named(
                    "attn_mask",
                    f"a causal bias of {sizes[0]} queries and {sizes[1]} keys, there are "
                    f"{query.size(2)} and {key.size(2)}",
                )
            )
        right = 0
        if attn_mask.variant == CausalVariant.LOWER_RIGHT:
            offset = key.size(2) - query.size(2)
    elif attn_mask is not None:
        bias, padding = _mask(attn_mask, lead, query, key)
    if sinks is not None:
        sinks = _sinks(sinks, query)
    band = torch.tensor([left, right, offset], device="cpu")
    return lead, Problem(query, key, value, band, bias, padding, sinks, scale, softcap, softmax, SEED)


def _check_tensors(query, key, value):
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(_named(name, f"a tensor is needed, not {type(tensor).__name__}"))
        if tensor.device.type not in ("cpu", "meta"):
            raise NotImplementedError(_named(name, f"attention runs on CPU tensors, this one is on {tensor.device}"))
        if tensor.layout != torch.strided:
            raise TypeError(_named(name, f"a dense tensor is needed, not {tensor.layout}"))
        if tensor.dtype not in _operator.RECIPES:
            raise TypeError(
                _named(name, f"dtype {tensor.dtype} is not supported: float32, bfloat16, float16 and float64 are")
            )
        if tensor.device != query.device:
            raise ValueError(_named(name, f"is on {tensor.device}, query on {query.device}"))
        if tensor.dim() < 2 or tensor.dim() != query.dim():
            raise ValueError(_named(name, f"needs at least 2 dimensions and query's {query.dim()}, has {tensor.dim()}"))
        if not 1 <= tensor.size(-1) <= MAX_WIDTH:
            raise ValueError(_named(name, f"head widths from 1 to {MAX_WIDTH} are supported, not {tensor.size(-1)}"))
    if key.size(-1) != query.size(-1):
        raise ValueError(_named("key", f"head width {key.size(-1)} is not query's {query.size(-1)}"))
    if value.shape[-3:-1] != key.shape[-3:-1]:
        raise ValueError(
            _named("value", f"heads and length {tuple(value.shape[-3:-1])} are not key's {tuple(key.shape[-3:-1])}")
        )


def _autocast(tensor):
    """As PyTorch casts the arguments of its own attention: all but FP64."""
    return tensor if tensor.dtype == torch.float64 else tensor.to(torch.get_autocast_dtype("cpu"))


def _check_agreement(query, key, value):
    """What must hold of the tensors that are computed with, after autocast."""
    for name, tensor in (("key", key), ("value", value)):
        if tensor.dtype != query.dtype:
            raise TypeError(_named(name, f"dtype {tensor.dtype} is not query's {query.dtype}"))
    if torch.compiler.is_compiling():
        return
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        # The operator would drop the tangent without a word.
        if forward_ad.unpack_dual(tensor).tangent is not None:
            raise NotImplementedError(_named(name, "forward-mode derivatives are not implemented: use backward()"))
        if _is_of_torch_func(tensor):
            raise NotImplementedError(
                _named(name, "torch.func's gradients are not implemented: use backward() or torch.autograd.grad")
            )


def _number(name, value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(_named(name, f"a number is needed, not {type(value).__name__}"))
    if not abs(value) < math.inf:  # isfinite() would break a graph
        raise ValueError(_named(name, f"a finite number is needed, not {value}"))
    return float(value)


def _window(window):
    """(before, after) the diagonal, _NO_LIMIT for all."""
    if window is None:
        return _NO_LIMIT, _NO_LIMIT
    if isinstance(window, tuple) and len(window) == 2:
        sides = window
    elif isinstance(window, int) and not isinstance(window, bool) and window >= 1:
        sides = (window - 1, 0)
    else:
        raise ValueError(_named("window", f"a positive int, a pair (before, after) or None is needed, not {window!r}"))
    for side in sides:
        if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 0):
            raise ValueError(_named("window", f"sides are counts of keys or None, not {side!r}"))
    return tuple(_NO_LIMIT if side is None else min(side, _MOST_KEYS) for side in sides)


def _flatten(query, key, value):
    """The common leading dimensions, and all three as (batch, head, row, column)."""
    if query.dim() == 4 and query.size(0) == key.size(0) == value.size(0):
        return query.shape[:1], query, key, value
    tensors = [x.unsqueeze(0) if x.dim() == 2 else x for x in (query, key, value)]
    try:
        lead = torch.broadcast_shapes(*(x.shape[:-3] for x in tensors))
    except RuntimeError:
        raise ValueError(
            _named(
                "key",
                "leading dimensions of query, key and value do not broadcast: "
                f"{tuple(query.shape)}, {tuple(key.shape)}, {tuple(value.shape)}",
            )
        ) from None
    return lead, *(x.expand(*lead, *x.shape[-3:]).reshape(math.prod(lead), *x.shape[-3:]) for x in tensors)


def _unflatten(tensor, lead, dim):
    if dim == 4:
        return tensor
    tensor = tensor.reshape(*lead, *tensor.shape[1:])
    return tensor.squeeze(0) if dim == 2 else tensor


def _mask(mask, lead, query, key):
    """(bias, None) or (None, padding)."""
    if not isinstance(mask, torch.Tensor):
        raise TypeError(_named("attn_mask", f"a tensor is needed, not {type(mask).__name__}"))
    if mask.dtype not in (torch.bool, query.dtype):
        raise TypeError(_named("attn_mask", f"dtype {mask.dtype} is neither bool nor query's {query.dtype}"))
    if mask.device != query.device:
        raise ValueError(_named("attn_mask", f"is on {mask.device}, query on {query.device}"))
    if mask.requires_grad:
        raise ValueError(_named("attn_mask", "there is no gradient with respect to it: pass attn_mask.detach()"))
    shape = (*lead, query.size(1), query.size(2), key.size(2))
    if mask.dtype != torch.bool:
        # finfo.min is how models write -inf; as a number it would be the largest score of the statistics.
        mask = mask.masked_fill(mask <= torch.finfo(mask.dtype).min / 2, -torch.inf)
    wide = mask
    while wide.dim() < 3:
        wide = wide.unsqueeze(0)
    try:
        if mask.dtype == torch.bool and wide.size(-2) == 1 and wide.size(-3) == 1:
            return None, wide[..., 0, 0, :].expand(*lead, key.size(2)).reshape(query.size(0), key.size(2))
        wide = wide.expand(shape)
    except RuntimeError:
        raise ValueError(_named("attn_mask", f"shape {tuple(mask.shape)} does not broadcast to {shape}")) from None
    return (wide if len(lead) == 1 else wide.reshape(query.size(0), *shape[-3:])), None


def _sinks(sinks, query):
    if not isinstance(sinks, torch.Tensor) or not sinks.is_floating_point():
        raise TypeError(_named("sinks", "a tensor of floats is needed"))
    if sinks.shape != (query.size(1),):
        raise ValueError(
            _named("sinks", f"shape ({query.size(1)},), one for each query head, is needed, not {tuple(sinks.shape)}")
        )
    if sinks.device != query.device:
        raise ValueError(_named("sinks", f"is on {sinks.device}, query on {query.device}"))
    return sinks.to(query.dtype)
