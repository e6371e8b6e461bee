"""Hugging Face Transformers models with ullage.torch.attention: `import ullage.huggingface` registers it.

    import ullage.huggingface
    model = AutoModelForCausalLM.from_pretrained(name, attn_implementation="ullage")

Causal, sliding-window, bidirectional and padded models take the fast kernels, training and generation with a cache
included: the mask function registered beside the attention names the pattern instead of filling an N x N mask. A mask
that is none of these (blocks of images, packed sequences, chunks) is filled and computed by the reference, which warns.
"""

import functools
import threading
import warnings
from typing import Any

try:
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface, masking_utils
except ModuleNotFoundError as error:
    if error.name not in ("torch", "transformers"):
        raise
    raise ModuleNotFoundError(
        "ullage.huggingface needs PyTorch and Transformers: pip install 'ullage[huggingface]'", name=error.name
    ) from None

from .torch import SOFTMAXES, _attention, _operator

__all__ = ["check", "register"]

# A band: keys seen before and after the diagonal, None for all of them. Mask functions are told apart by their code,
# those with a parameter by that of any one of their kind. Pairs, not a dict: torch.compile cannot hash code.
_FULL = (None, None)
_ATOMS = (
    (masking_utils.causal_mask_function.__code__, lambda: (None, 0)),
    (masking_utils.bidirectional_mask_function.__code__, lambda: _FULL),
    (masking_utils.sliding_window_overlay(1).__code__, lambda size: (size - 1, None)),
    (masking_utils.sliding_window_bidirectional_overlay(1).__code__, lambda size: (size, size)),
)
_ALL_OF = masking_utils.and_masks(masking_utils.causal_mask_function).__code__
_NO_LIMIT = -1
_HEADER = 3  # left, right, offset


def register(name: str = "ullage", softmax: str = "stabilised") -> None:
    """Makes attn_implementation=name this library's attention with that softmax: "stabilised", "standard", "published".

    Importing the module has registered "ullage". Raises ValueError for another softmax.
    """
    if softmax not in SOFTMAXES:
        raise ValueError(
            f"ullage.huggingface.register: softmax: one of {', '.join(SOFTMAXES)} is needed, not {softmax!r}"
        )

    def forward(module, query, key, value, attention_mask, **kwargs):
        return _attend(softmax, module, query, key, value, attention_mask, **kwargs)

    AttentionInterface.register(name, forward)
    AttentionMaskInterface.register(name, _mask)


def check(model: torch.nn.Module, **inputs: Any) -> int:
    """How many times one forward pass of the model, without gradients and dropout, called this library's attention.

    inputs: the model's arguments; a model of tokens needs none (model.dummy_inputs). Raises NotImplementedError that
    names the model's class where the pass fails, or never gets here: some classes compute their attention themselves
    whatever attn_implementation says.
    """
    if not inputs and model.main_input_name != "input_ids":
        raise ValueError(f"ullage.huggingface.check: inputs: {type(model).__name__} needs {model.main_input_name}")
    before, modes = _calls.count, [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            model(**(inputs or model.dummy_inputs))
    except Exception as error:
        raise NotImplementedError(
            f"ullage.huggingface.check: {type(model).__name__}: a forward pass with "
            f"attn_implementation={model.config._attn_implementation!r} fails: {error}"
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    if _calls.count == before:
        raise NotImplementedError(
            f"ullage.huggingface.check: {type(model).__name__} with attn_implementation="
            f"{model.config._attn_implementation!r} never called ullage's attention"
        )
    return _calls.count - before


class _Calls(threading.local):
    """Of attention in this thread, for check()."""

    count = 0


_calls = _Calls()


def _band(mask_function):
    """The band that a mask function of Transformers lets through, or None where it is another pattern."""
    # While torch.compile traces it cannot say what a function made there closes over: such masks are filled, and
    # recognised when they are read.
    visible = not torch.compiler.is_compiling()
    cells = [cell.cell_contents for cell in mask_function.__closure__ or ()] if visible else []
    for code, band in _ATOMS:
        if mask_function.__code__ is code:
            return band(*cells) if visible or not code.co_freevars else None
    if mask_function.__code__ is not _ALL_OF or not visible:
        return None
    left, right = _FULL
    for part in cells[0]:
        band = _band(part)
        if band is None:
            return None
        left, right = (
            b if a is None else a if b is None else min(a, b) for a, b in zip((left, right), band, strict=True)
        )
    return left, right


def _mask(
    batch_size,
    q_length,
    kv_length,
    q_offset=0,
    kv_offset=0,
    mask_function=masking_utils.causal_mask_function,
    attention_mask=None,
    device="cpu",
    **kwargs,
):
    """The mask of a layer, as sdpa's mask function is called, in one of two forms of four dimensions.

    A band: int64 (batch, 1, 1, 3 + keys): left, right, offset (see ullage.torch._operator), then 1 for each key that
    is no padding. It is read when the attention runs, so an offset that only a static cache knows stays a tensor.
    Anything else: bool (batch, 1, queries, keys), as sdpa's.
    """
    offset = q_offset - kv_offset
    band = _band(mask_function)
    if band is not None:
        left, right = (_NO_LIMIT if side is None else side for side in band)
        # A static cache's offset is a tensor, and then within what kernels can align.
        if isinstance(offset, int) and _operator.aligned(left, right, offset, q_length, kv_length) is None:
            band = None
    if band is None:
        kwargs |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
        filled = masking_utils.sdpa_mask(
            batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask, device=device, **kwargs
        )
        return filled.expand(batch_size, -1, -1, -1)
    padding = masking_utils.prepare_padding_mask(attention_mask, kv_length, kv_offset)
    if padding is None:
        padding = torch.ones((batch_size, kv_length), dtype=torch.int64, device=device)
    else:
        padding = padding[:, torch.arange(kv_length, device=device) + kv_offset].to(torch.int64)
    header = torch.tensor([left, right, 0], device=device)
    header[2] = offset
    return torch.cat([header.expand(batch_size, _HEADER), padding], 1)[:, None, None, :]


def _attend(
    softmax,
    module,
    query,
    key,
    value,
    attention_mask,
    dropout=0.0,
    scaling=None,
    is_causal=None,
    softcap=None,
    sliding_window=None,
    s_aux=None,
    position_bias=None,
    cache=None,
    **kwargs,
):
    """query (B, Hq, L, E), key and value (B, Hkv, S, E) -> (B, L, Hq, Ev), no weights. As sdpa's attention is called."""
    if not torch.compiler.is_compiling():
        _calls.count += 1
    if dropout:
        raise ValueError(
            f"ullage.huggingface: dropout: the attention has none, the config asks for {dropout}; set it to 0 "
            "(attn_pdrop, attention_dropout, attention_probs_dropout_prob)"
        )
    if cache is not None:
        raise NotImplementedError("ullage.huggingface: cache: paged caches are not supported")
    if position_bias is not None and position_bias.requires_grad:
        raise NotImplementedError(
            "ullage.huggingface: position_bias: a bias by position (T5's relative_attention_bias) has "
            "no gradient here: set its weight.requires_grad to False, run under torch.no_grad(), or "
            "train with another attn_implementation"
        )
    band = padding = None
    if attention_mask is None:
        # No mask function was asked: what the module says of itself holds, the last query at the last key.
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        left = sliding_window - 1 if causal and sliding_window is not None else _NO_LIMIT
        band = torch.tensor([left, 0 if causal else _NO_LIMIT, key.size(2) - query.size(2)], device="cpu")
    elif attention_mask.dtype == torch.int64:
        if attention_mask.size(-1) != _HEADER + key.size(2):
            raise ValueError(
                f"ullage.huggingface: attention_mask: made for {attention_mask.size(-1) - _HEADER} keys, "
                f"there are {key.size(2)}: the model changed the one or the other"
            )
        rows = attention_mask[:, 0, 0]
        band, padding = rows[0, :_HEADER], rows[:, _HEADER:].expand(query.size(0), -1)
        attention_mask = None
    _, problem = _attention.arguments(
        query,
        key,
        value,
        _with_bias(attention_mask, position_bias),
        scale=scaling,
        enable_gqa=True,
        softmax=softmax,
        softcap=softcap,
        sinks=s_aux,
    )
    if band is not None:
        problem = problem._replace(band=band, padding=padding)
    if not torch.compiler.is_compiling():
        _warn_if_slow(problem)
    output, _, _ = torch.ops.ullage.attention(*problem, False)
    return output.transpose(1, 2).contiguous(), None


def _with_bias(mask, bias):
    """One mask for both: a bias by position (T5), and what may be seen."""
    if bias is None or mask is None:
        return mask if bias is None else bias
    return torch.where(mask, bias, -torch.inf) if mask.dtype == torch.bool else mask + bias


@functools.lru_cache
def _why_not_fast(dtype, softmax):
    """The reason that holds for every problem of a dtype and softmax on this CPU."""
    one = torch.zeros((1, 1, 1, 8), dtype=dtype)
    return _attention.attention_path(one, one, one, softmax=softmax).reason


def _warn_if_slow(problem):
    reason = _why_not_fast(problem.query.dtype, problem.softmax)
    if not reason and (problem.bias is not None or problem.sinks is not None):
        reason = _operator.path(*problem)[1]
    if reason:
        warnings.warn(
            f"ullage.huggingface: {reason}: computed by the reference, some hundred times slower than the fast kernels",
            stacklevel=2,
        )


register()
