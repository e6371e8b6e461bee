"""torch.ops.ullage.attention: the operator behind ullage.torch.attention, with its gradient and its shapes.

attention(query, key, value, band, bias, padding, sinks, scale, softcap, softmax, seed, statistics)
    -> (output, log_sum_exp, rows)

query (B, Hq, L, E), key (B, Hkv, S, E), value (B, Hkv, S, Ev): one dtype, Hkv divides Hq, any strides.
band: int64 (3), on the CPU: left, right, offset. Query i sees the keys [i + offset - left, i + offset + right]; a
    negative side has no limit. A tensor, so that what a model's cache knows only when it runs fits a compiled graph.
bias: (B, Hq, L, S) or None: query's dtype, added to the capped scores, or bool, True where a query sees a key; one that
    is a band and padding for all heads is computed as those. No gradient.
padding: (B, S) or None, 0 or False where a key is hidden from all queries.
sinks: query's dtype (Hq) or None: one more score a head, without a value.
output: query's dtype (B, Hq, L, Ev), laid out (B, L, Hq, Ev), which is what models flatten next.
log_sum_exp: (B, Hq, L), FP32, FP64 with FP64. rows: FP64 (B, Hq, L, 8) or (B, Hq, 0, 8), see _statistics.

A CUDA kernel is one more torch.library.impl of the two operators.
"""

import os
from typing import NamedTuple

import torch

from .. import _core
from ._statistics import ROW_FIELDS

# What the reference computes each dtype by, and in which dtype.
RECIPES = {
    torch.float32: ("fp32", torch.float32),
    torch.bfloat16: ("bf16-flash", torch.float32),
    torch.float16: ("fp16", torch.float32),
    torch.float64: ("fp64", torch.float64),
}
FAST = (torch.float32, torch.bfloat16)

_PROBLEM = "Tensor query, Tensor key, Tensor value, Tensor band, Tensor? bias, Tensor? padding, Tensor? sinks"
_SETTINGS = "float scale, float softcap, str softmax, int seed"
_library = torch.library.Library("ullage", "DEF")
_library.define(
    f"attention({_PROBLEM}, {_SETTINGS}, bool statistics) -> (Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_library.define(
    f"attention_backward(Tensor grad_output, Tensor output, Tensor log_sum_exp, {_PROBLEM}, {_SETTINGS})"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def path(query, key, value, band, bias, padding, sinks, *settings):
    """(the kernel's name, why the reference does it instead: empty where a fast kernel does)"""
    if query.dtype not in FAST:
        return "reference", f"{str(query.dtype).removeprefix('torch.')} tensors"
    name, reason = _problem(query, key, value, _seen(query, key, band, bias, padding), sinks, *settings).path()
    return ("reference" if reason else name), reason


def aligned(left, right, offset, queries, keys):
    """A band as the kernels take it: left, right, whether the diagonal starts at key 0 (else it ends at the last key),
    and how many keys there are for any query. None where they cannot."""
    if left < 0 and right < 0:
        return left, right, False, keys
    if offset == keys - queries or (right == 0 and 0 <= offset < keys - queries):
        return left, right, False, queries + offset
    return (left, right, True, keys) if offset == 0 else None


class _Seen(NamedTuple):
    """Which keys a query sees, as the kernels take it."""

    left: int
    right: int
    top_left: bool
    keys: int  # those after them no query sees
    bias: torch.Tensor | None  # additive
    padding: torch.Tensor | None


def _seen(query, key, band, bias, padding):
    queries, keys = query.size(2), key.size(2)
    band = band.tolist()
    if bias is not None and bias.dtype == torch.bool:
        if band[0] < 0 and band[1] < 0 and padding is None and (bias.size(1) == 1 or bias.stride(1) == 0):
            keep = torch.empty((bias.size(0), keys), dtype=torch.uint8)
            found = _named(_core.mask_band, bias.detach()[:, 0].view(torch.uint8), keep)
            known = None if found is None else _aligned_limits(*found, queries, keys)
            if known is not None:
                return _Seen(*known, None, keep)
        bias = torch.zeros_like(bias, dtype=query.dtype).masked_fill(~bias, -torch.inf)
    known = aligned(*band, queries, keys)
    if known is None:
        raise ValueError(
            f"ullage.torch.attention: band: no kernel has the diagonal of {band} with {queries} queries and {keys} keys"
        )
    return _Seen(*known, bias, padding)


def _aligned_limits(first, last, queries, keys):
    """aligned() of the keys j with first <= j - i <= last, None for no limit."""
    for offset in (keys - queries if last is None else last, keys - queries):
        left = -1 if first is None else offset - first
        right = -1 if last is None else last - offset
        if (first is None or left >= 0) and (last is None or right >= 0):
            found = aligned(left, right, offset, queries, keys)
            if found is not None:
                return found
    return None


def _rows(tensor):
    """Kernels want the columns next to each other; every other stride is as it comes. Autograd is done with it."""
    tensor = tensor.detach()
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _problem(query, key, value, seen, sinks, scale, softcap, softmax, seed):
    keys, bias, padding = seen.keys, seen.bias, seen.padding
    if padding is not None:
        padding = padding.detach().narrow(1, 0, keys).ne(0).to(torch.uint8).contiguous()
    # parallel_for's own setting wins where there is one; else PyTorch's number of threads, so that what limits the
    # rest of a program limits this too.
    threads = 0 if "ULLAGE_THREADS" in os.environ else torch.get_num_threads()
    return _named(
        _core.Attention,
        _rows(query),
        _rows(key.narrow(2, 0, keys)),
        _rows(value.narrow(2, 0, keys)),
        None if bias is None else bias.detach().narrow(3, 0, keys),
        padding,
        None if sinks is None else sinks.detach().contiguous(),
        seen.left,
        seen.right,
        seen.top_left,
        scale,
        softcap,
        softmax,
        seed,
        threads,
    )


def _choose(query, key, value, seen, sinks, *settings):
    """The problem in the dtype that it is computed in, and the reference's recipe, or None for the fast kernels."""
    if query.dtype in FAST:
        problem = _problem(query, key, value, seen, sinks, *settings)
        if not problem.path()[1]:
            return problem, None, query.dtype
    recipe, dtype = RECIPES[query.dtype]
    query, key, value, bias, sinks = (None if x is None else x.to(dtype) for x in (query, key, value, seen.bias, sinks))
    return _problem(query, key, value, seen._replace(bias=bias), sinks, *settings), recipe, dtype


def _outputs(query, value, statistics):
    batch, heads, queries, _ = query.shape
    output = query.new_empty((batch, queries, heads, value.size(3))).transpose(1, 2)
    real = torch.float64 if query.dtype == torch.float64 else torch.float32
    log_sum_exp = query.new_empty((batch, heads, queries), dtype=real)
    rows = query.new_empty((batch, heads, queries if statistics else 0, len(ROW_FIELDS)), dtype=torch.float64)
    return output, log_sum_exp, rows


def _gradients(query, key, value, sinks):
    # Gradients in the layout of what they are of, so that a transposed projection takes them without a copy.
    grads = [torch.empty_like(x) for x in (query, key, value)]
    return *grads, query.new_empty((query.size(1) if sinks is not None else 0,))


def _named(call, *arguments):
    try:
        return call(*arguments)
    except (TypeError, ValueError, MemoryError) as error:
        raise type(error)(f"ullage.torch.attention: {error}") from None


@torch.library.impl(_library, "attention", "CPU")
def _forward(query, key, value, band, bias, padding, sinks, scale, softcap, softmax, seed, statistics):
    output, log_sum_exp, rows = _outputs(query, value, statistics)
    if output.numel() == 0:
        return output, log_sum_exp.fill_(-torch.inf), rows.zero_()
    seen = _seen(query, key, band, bias, padding)
    problem, recipe, dtype = _choose(query, key, value, seen, sinks, scale, softcap, softmax, seed)
    # to() gives the tensor itself where it has that dtype.
    computed = output.to(dtype)
    _named(problem.forward, computed, log_sum_exp.unsqueeze(-1), rows if statistics else None, recipe)
    if computed is not output:
        output.copy_(computed)
    return output, log_sum_exp, rows


@torch.library.impl(_library, "attention_backward", "CPU")
def _backward(grad_output, output, log_sum_exp, query, key, value, band, bias, padding, sinks, *settings):
    grads = _gradients(query, key, value, sinks)
    if output.numel() == 0:
        return tuple(grad.zero_() for grad in grads)
    seen = _seen(query, key, band, bias, padding)
    problem, recipe, dtype = _choose(query, key, value, seen, sinks, *settings)
    for grad in grads[1:3]:
        grad.narrow(2, seen.keys, grad.size(2) - seen.keys).zero_()
    computed = [grad.to(dtype) for grad in grads]
    _named(
        problem.backward,
        _rows(grad_output.to(dtype)),
        _rows(output.to(dtype)),
        log_sum_exp.detach().unsqueeze(-1),
        computed[0],
        *(grad.narrow(2, 0, seen.keys) for grad in computed[1:3]),
        computed[3] if sinks is not None else None,
        recipe,
    )
    for grad, found in zip(grads, computed, strict=True):
        if found is not grad:
            grad.copy_(found)
    return grads


@torch.library.register_fake("ullage::attention", lib=_library)
def _fake_forward(query, key, value, band, bias, padding, sinks, scale, softcap, softmax, seed, statistics):
    return _outputs(query, value, statistics)


@torch.library.register_fake("ullage::attention_backward", lib=_library)
def _fake_backward(grad_output, output, log_sum_exp, query, key, value, band, bias, padding, sinks, *settings):
    return _gradients(query, key, value, sinks)


def _save(ctx, inputs, output):
    query, key, value, band, bias, padding, sinks, *settings, _ = inputs
    ctx.save_for_backward(*output[:2], query, key, value, band, bias, padding, sinks)
    ctx.settings = settings
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _differentiate(ctx, grad_output, _log_sum_exp, _rows):
    nothing = (None,) * 6
    if grad_output is None:
        return (None,) * 6 + nothing
    saved = ctx.saved_tensors  # once: gradient checkpointing computes them anew when they are asked for
    *grads, sinks = torch.ops.ullage.attention_backward(grad_output, *saved, *ctx.settings)
    return *grads, None, None, None, (sinks if saved[-1] is not None else None), *nothing[1:]


def _no_second_derivative(ctx, *grads):
    raise NotImplementedError(
        "ullage.torch.attention: second derivatives are not implemented; call backward without create_graph=True"
    )


torch.library.register_autograd("ullage::attention", _differentiate, setup_context=_save, lib=_library)
torch.library.register_autograd("ullage::attention_backward", _no_second_derivative, lib=_library)
