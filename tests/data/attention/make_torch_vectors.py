"""Writes torch_vectors.json: attention and its gradients from PyTorch in float64, a few small cases.

Run with the project's pinned torch; the C++ tests read the file, never torch itself.
"""

import json
import pathlib
import sys

import torch

torch.manual_seed(20260)


def run(name, b, hq, hkv, n, m, d, dv, *, causal=None, window=None, cap=0.0, bias=False, sinks=False, scale=None):
    def leaf(*shape):
        return torch.randn(*shape, dtype=torch.float32).double().requires_grad_()

    q, k, v = leaf(b, hq, n, d), leaf(b, hkv, m, d), leaf(b, hkv, m, dv)
    go = torch.randn(b, hq, n, dv, dtype=torch.float32).double()
    kk, vv = (x.repeat_interleave(hq // hkv, 1) for x in (k, v))
    s = q @ kk.transpose(-1, -2) * (d**-0.5 if scale is None else scale)
    if cap:
        s = cap * torch.tanh(s / cap)
    added = torch.randn(hq, n, m, dtype=torch.float32).double() if bias else None
    if added is not None:
        s = s + added
    diagonal = torch.arange(n)[:, None] + (m - n if causal == "bottom_right" else 0)
    ahead = torch.arange(m)[None, :] - diagonal
    if causal:
        s = s.masked_fill(ahead > 0, -torch.inf)
    if window:
        s = s.masked_fill(ahead <= -window, -torch.inf)
    sink = leaf(hq) if sinks else None
    if sink is not None:
        s = torch.cat([s, sink[None, :, None, None].expand(b, hq, n, 1)], -1)
    p = torch.softmax(s, -1)[..., :m]
    out = p @ vv
    out.backward(go)

    def flat(x):
        return None if x is None else x.detach().flatten().tolist()

    return dict(
        name=name,
        shape=[b, hq, hkv, n, m, d, dv],
        causal=causal,
        window=window,
        soft_cap=cap,
        scale=scale,
        q=flat(q),
        k=flat(k),
        v=flat(v),
        grad_output=flat(go),
        bias=flat(added),
        sinks=flat(sink),
        output=flat(out),
        grad_q=flat(q.grad),
        grad_k=flat(k.grad),
        grad_v=flat(v.grad),
        grad_sinks=None if sink is None else flat(sink.grad),
        log_sum_exp=flat(torch.logsumexp(s, -1)),
    )


cases = [
    run("full", 2, 2, 2, 5, 7, 4, 3),
    run("causal", 1, 2, 2, 6, 6, 4, 4, causal="top_left"),
    run("causal, grouped, more keys", 1, 4, 2, 4, 7, 4, 4, causal="bottom_right"),
    run("window", 1, 1, 1, 8, 8, 4, 4, causal="bottom_right", window=3),
    run("soft cap", 1, 2, 1, 5, 5, 4, 4, causal="top_left", cap=1.5),
    run("bias and scale", 1, 2, 2, 4, 6, 4, 2, bias=True, scale=0.9),
    run("sinks", 2, 2, 1, 5, 5, 4, 4, causal="top_left", sinks=True),
]
# The definition above against PyTorch's own kernel where that has the options.
with torch.no_grad():
    for case in (cases[0], cases[1]):
        batch, query_heads, kv_heads, queries, keys, width, value_width = case["shape"]
        shapes = {
            "q": (batch, query_heads, queries, width),
            "k": (batch, kv_heads, keys, width),
            "v": (batch, kv_heads, keys, value_width),
        }
        tensors = [torch.tensor(case[key], dtype=torch.float64).view(shape) for key, shape in shapes.items()]
        output = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=case["causal"] is not None)
        if not torch.allclose(output.flatten(), torch.tensor(case["output"], dtype=torch.float64), atol=1e-14):
            sys.exit("the definition and PyTorch's kernel differ")

path = pathlib.Path(__file__).with_name("torch_vectors.json")
path.write_text(json.dumps({"torch": torch.__version__, "cases": cases}) + "\n")
