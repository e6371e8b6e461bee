"""Attention written out with the N x N matrix, by PyTorch's autograd: what the tests know the answer by, in FP64."""

import math

import torch


def visible(queries, keys, is_causal=False, window=None, offset=0):
    """Which keys a query sees."""
    left, right = (None, None) if window is None else (window - 1, 0) if isinstance(window, int) else window
    if is_causal:
        right = 0
    distance = torch.arange(keys)[None, :] - torch.arange(queries)[:, None] - offset
    seen = torch.ones(queries, keys, dtype=torch.bool)
    if left is not None:
        seen &= distance >= -left
    if right is not None:
        seen &= distance <= right
    return seen


def scores(
    query,
    key,
    attn_mask=None,
    is_causal=False,
    scale=None,
    softcap=None,
    window=None,
    sinks=None,
    offset=0,
    dtype=torch.float64,
):
    """S with -inf where a key is hidden; one more column for sinks."""
    query, key = query.to(dtype), key.to(dtype)
    key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
    s = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.size(-1)) if scale is None else scale)
    if softcap is not None:
        s = softcap * torch.tanh(s / softcap)
    if attn_mask is not None:
        s = s.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else s + attn_mask.to(dtype)
    s = s.masked_fill(~visible(query.size(-2), key.size(-2), is_causal, window, offset), -torch.inf)
    if sinks is not None:
        s = torch.cat([s, sinks.to(dtype)[:, None, None].expand(*s.shape[:-1], 1)], -1)
    return s


def attention(query, key, value, sinks=None, enable_gqa=True, dtype=torch.float64, **options):
    s = scores(query, key, sinks=sinks, dtype=dtype, **options)
    top = s.detach().amax(-1, keepdim=True)
    weights = torch.exp(s - torch.where(top == -torch.inf, 0.0, top))
    total = weights.sum(-1, keepdim=True)
    p = weights / torch.where(total == 0, 1.0, total)
    value = value.to(dtype).repeat_interleave(query.size(-3) // value.size(-3), -3)
    return p[..., : value.size(-2)] @ value
