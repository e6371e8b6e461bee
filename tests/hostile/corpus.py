#!/usr/bin/env python3
"""Writes a corpus of malformed / hostile checkpoints for a checkpoint scanner.

usage: corpus.py TARGET [--force] [--with-sparse] [--only REGEX]

TARGET/manifest.jsonl gets one line per case:
  path      relative to TARGET (a directory or a single file)
  category  see below
  expected  'error' | 'ok' | 'any'
            ('any': format or policy is silent; a clean result OR a clean error passes)
  want      optional regex which stdout+stderr+json must match (what has to be said)
  flags     'nonroot'  : judged as 'any' when run by uid 0 (permissions do not bind root)
            'slow'     : large header / many tensors, time limit is the point
  note      why the case exists

Nothing here is dangerous to keep on disk: the pickle payloads only create a marker
file (TARGET/MARKER_*), device links are never opened by the generator, and huge sparse
files are only made with --with-sparse.  Copy the corpus with tar, not with a tool that
follows links or reads FIFOs.
"""

import argparse
import io
import json
import os
import pickle
import re
import shutil
import socket
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np

ESC = "\x1b"
XSS = "<script>hr_xss()</script>"
IMG = "<img src=x onerror=hr_xss()>"
D, H, KV, HD, L, V, F = 32, 4, 2, 8, 2, 64, 64
CFG = dict(
    architectures=["LlamaForCausalLM"],
    model_type="llama",
    hidden_size=D,
    intermediate_size=F,
    num_hidden_layers=L,
    num_attention_heads=H,
    num_key_value_heads=KV,
    head_dim=HD,
    vocab_size=V,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    hidden_act="silu",
    tie_word_embeddings=False,
    torch_dtype="float32",
)
Q0 = "model.layers.0.self_attn.q_proj.weight"
K0 = "model.layers.0.self_attn.k_proj.weight"
SIZES = dict(
    F64=8,
    I64=8,
    U64=8,
    C64=8,
    F32=4,
    I32=4,
    U32=4,
    F16=2,
    BF16=2,
    I16=2,
    U16=2,
    I8=1,
    U8=1,
    BOOL=1,
    F8_E4M3=1,
    F8_E5M2=1,
    F8_E8M0=1,
    F8_E4M3FNUZ=1,
    F8_E5M2FNUZ=1,
)


# ---------------------------------------------------------------- tensors and the container
def weights(seed=7):
    g = np.random.default_rng(seed)

    def n(*s):
        return (g.standard_normal(s) / np.sqrt(s[-1])).astype(np.float32)

    w = {"model.embed_tokens.weight": n(V, D)}
    for i in range(L):
        p = f"model.layers.{i}."
        w[p + "input_layernorm.weight"] = np.ones(D, np.float32)
        w[p + "self_attn.q_proj.weight"] = n(H * HD, D)
        w[p + "self_attn.k_proj.weight"] = n(KV * HD, D)
        w[p + "self_attn.v_proj.weight"] = n(KV * HD, D)
        w[p + "self_attn.o_proj.weight"] = n(D, H * HD)
        w[p + "post_attention_layernorm.weight"] = np.ones(D, np.float32)
        w[p + "mlp.gate_proj.weight"] = n(F, D)
        w[p + "mlp.up_proj.weight"] = n(F, D)
        w[p + "mlp.down_proj.weight"] = n(D, F)
    w["model.norm.weight"] = np.ones(D, np.float32)
    w["lm_head.weight"] = n(V, D)
    return w


def bf16(a):
    u = np.ascontiguousarray(a, np.float32).view(np.uint32).astype(np.uint64)
    r = ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)
    nan = np.isnan(a)
    return np.where(nan, np.uint16(0x7FC0), r).astype("<u2")


class T:  # one stored tensor: dtype label, shape, bytes
    def __init__(s, dt, shape, raw):
        s.dt, s.shape, s.raw = dt, list(shape), bytes(raw)


def enc(a, dt="F32"):
    if isinstance(a, T):
        return a
    a = np.asarray(a)
    with np.errstate(all="ignore"):
        if dt == "BF16":
            return T("BF16", a.shape, bf16(a.astype(np.float32)).tobytes())
        m = dict(F32="<f4", F64="<f8", F16="<f2", I8="i1", U8="u1", I16="<i2", I32="<i4", I64="<i8")[dt]
        return T(dt, a.shape, a.astype(m).tobytes())


def st(ts, dt="F32", meta=None, pad=8):
    """ordered {name: array|T} -> valid safetensors bytes"""
    h, out, off = {}, [], 0
    if meta is not None:
        h["__metadata__"] = meta
    for k, a in ts.items():
        t = enc(a, dt)
        h[k] = {"dtype": t.dt, "shape": t.shape, "data_offsets": [off, off + len(t.raw)]}
        off += len(t.raw)
        out.append(t.raw)
    j = json.dumps(h, separators=(",", ":")).encode()
    if pad:
        j += b" " * (-len(j) % pad)
    return struct.pack("<Q", len(j)) + j + b"".join(out)


def raw(j, data=b"", n=None):
    if isinstance(j, str):
        j = j.encode()
    return struct.pack("<Q", (len(j) if n is None else n) & (2**64 - 1)) + j + data


def split(b):
    n = struct.unpack("<Q", b[:8])[0]
    return b[8 : 8 + n], b[8 + n :]


def hdr_edit(fn, ts=None, dt="F32"):
    """valid file, header dict changed by fn, data untouched"""
    j, data = split(st(ts or weights(), dt))
    h = json.loads(j)
    r = fn(h)
    return raw(json.dumps(r if r is not None else h), data)


# ---------------------------------------------------------------- corpus bookkeeping
class Corpus:
    def __init__(s, root, only=None):
        s.root, s.rows, s.n, s.only = root, [], 0, re.compile(only) if only else None
        s.marker = [str(root / f"MARKER_{k}") for k in ("pickle", "zip", "global", "sfx", "tar")]

    def add(s, slug, cat, exp, want=None, note="", flags=(), path=None):
        s.n += 1
        d = s.root / f"{s.n:03d}_{slug}"
        skip = s.only and not s.only.search(f"{cat}/{slug}")
        if not skip:
            d.mkdir()
            s.rows.append(
                dict(
                    path=str((d / path).relative_to(s.root)) if path else d.name,
                    category=cat,
                    expected=exp,
                    want=want,
                    flags=list(flags),
                    note=note,
                )
            )
        return None if skip else d

    def ck(
        s,
        slug,
        cat,
        exp,
        want=None,
        note="",
        flags=(),
        cfg=None,
        cfgraw=None,
        w=None,
        mod=None,
        dt="F32",
        blob=None,
        fname="model.safetensors",
        meta=None,
        pad=8,
        path=None,
        extra=None,
    ):
        """checkpoint directory with config.json and one weight file"""
        d = s.add(slug, cat, exp, want, note, flags, path)
        if d is None:
            return None
        if cfgraw is not None:
            (d / "config.json").write_bytes(cfgraw if isinstance(cfgraw, bytes) else cfgraw.encode())
        elif cfg is not False:
            c = dict(CFG)
            for k, v in (cfg or {}).items():
                c.pop(k, None) if v is None else c.__setitem__(k, v)
            (d / "config.json").write_text(json.dumps(c, indent=1))
        if blob is None:
            ts = w or weights()
            if mod:
                ts = mod(ts) or ts
            blob = st(ts, dt, meta, pad)
        if blob is not False:
            (d / fname).write_bytes(blob)
        if extra:
            extra(d)
        return d


# ---------------------------------------------------------------- cases
def valid(c):
    K = "valid"
    c.ck("f32", K, "ok")
    c.ck("bf16", K, "ok", dt="BF16", cfg=dict(torch_dtype="bfloat16"))
    c.ck("f16", K, "ok", dt="F16", cfg=dict(torch_dtype="float16"))
    c.ck("f64", K, "any", dt="F64", note="legal dtype, unusual in checkpoints")
    c.ck("header_unpadded", K, "ok", pad=0, note="header length not a multiple of 8: readers must do unaligned loads")
    c.ck("header_pad_4mb", K, "ok", pad=1 << 22, note="trailing spaces up to the 100 MB cap are legal")
    c.ck("name_order_reversed", K, "ok", w=dict(reversed(list(weights().items()))))
    c.ck("header_order_not_offset_order", K, "ok", blob=hdr_edit(lambda h: dict(reversed(list(h.items())))))
    c.ck(
        "misaligned_f32_data",
        K,
        "ok",
        w={"a.pad": T("U8", [1], b"x"), **weights()},
        pad=8,
        note="float data at odd file offsets is accepted by the reference reader (UB trap in C++)",
    )
    c.ck("extra_scalar_rank0", K, "ok", mod=lambda w: w.update({"extra.scalar": T("F32", [], struct.pack("<f", 1))}))
    c.ck(
        "extra_zero_size",
        K,
        "ok",
        mod=lambda w: w.update({"extra.z": T("F32", [0], b""), "extra.z2": T("I64", [3, 0, 5], b"")}),
    )
    c.ck(
        "extra_all_dtypes",
        K,
        "ok",
        note="every fixed-width dtype of the format, on tensors nobody needs",
        mod=lambda w: w.update({f"extra.{k}": T(k, [8], bytes(8 * v)) for k, v in SIZES.items()}),
    )
    c.ck(
        "extra_subbyte_dtypes",
        K,
        "ok",
        note="F4 and F6 have bit sizes 4 and 6; 8 elements fill whole bytes",
        mod=lambda w: w.update(
            {
                "extra.f4": T("F4", [8], bytes(4)),
                "extra.f6a": T("F6_E2M3", [8], bytes(6)),
                "extra.f6b": T("F6_E3M2", [8], bytes(6)),
            }
        ),
    )
    c.ck(
        "zero_huge_dim",
        K,
        "ok",
        note="[0, 2^64-1] is a legal empty tensor; must not be allocated or iterated",
        mod=lambda w: w.update({"extra.z": T("U8", [0, 2**64 - 1], b"")}),
    )
    c.ck(
        "unicode_names",
        K,
        "ok",
        mod=lambda w: w.update(
            {
                "\u044d\u043a\u0441\u0442\u0440\u0430.\u91cd\u307f.\U0001f9ea": T("U8", [1], b"x"),
                "\u00e9\u0301\u202e": T("U8", [1], b"x"),
            }
        ),
    )
    c.ck("metadata_1mb", K, "ok", meta={"format": "pt", "blob": "x" * (1 << 20)})
    c.ck("metadata_20k_keys", K, "ok", meta={f"k{i}": "v" for i in range(20000)})
    c.ck(
        "many_tensors_1e5",
        K,
        "ok",
        flags=["slow"],
        note="10^5 one-byte tensors: quadratic name or overlap checks time out",
        mod=lambda w: w.update({f"t.{i}": T("U8", [1], b"\0") for i in range(100000)}),
    )
    c.ck("no_head_dim_key", K, "ok", cfg=dict(head_dim=None), note="derived: hidden_size / heads")
    c.ck(
        "no_kv_heads_key",
        K,
        "ok",
        cfg=dict(num_key_value_heads=None),
        note="means MHA",
        mod=lambda w: w.update(
            {
                k: weights(9)[k.replace("k_proj", "q_proj").replace("v_proj", "q_proj")]
                for k in w
                if "k_proj" in k or "v_proj" in k
            }
        ),
    )
    c.ck(
        "head_dim_decoupled",
        K,
        "ok",
        cfg=dict(head_dim=16),
        note="head_dim*heads != hidden_size is legal when shapes agree",
        mod=lambda w: w.update(
            {
                k: np.resize(v, (v.shape[0] * 2, D) if "o_proj" not in k else (D, v.shape[1] * 2))
                for k, v in list(w.items())
                if "self_attn" in k
            }
        ),
    )
    c.ck(
        "tied_no_lm_head",
        K,
        "ok",
        cfg=dict(tie_word_embeddings=True),
        mod=lambda w: {k: v for k, v in w.items() if k != "lm_head.weight"},
    )

    def shards(d, names=("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"), edit=None, meta=True):
        w = list(weights().items())
        parts = [dict(w[: len(w) // 2]), dict(w[len(w) // 2 :])]
        for nm, p in zip(names, parts):
            if nm:
                (d / nm).parent.mkdir(parents=True, exist_ok=True)
                (d / nm).write_bytes(st(p))
        idx = {
            "metadata": {"total_size": sum(a.nbytes for _, a in w)},
            "weight_map": {k: n for n, p in zip(names, parts) for k in p},
        }
        if not meta:
            del idx["metadata"]
        r = edit(idx) if edit else None
        idx = idx if r is None else r
        (d / "model.safetensors.index.json").write_bytes(idx if isinstance(idx, bytes) else json.dumps(idx).encode())

    c.shards = shards
    c.ck("sharded", K, "ok", blob=False, extra=shards)
    c.ck("sharded_no_metadata", K, "ok", blob=False, extra=lambda d: shards(d, meta=False))
    c.ck(
        "sharded_subdir",
        K,
        "any",
        blob=False,
        note="shard in a sub-directory stays inside the checkpoint",
        extra=lambda d: shards(d, ("a/m1.safetensors", "b/m2.safetensors")),
    )

    def cache(d):
        (d / "blobs").mkdir()
        (d / "snapshots/rev").mkdir(parents=True)
        (d / "blobs/w").write_bytes(st(weights()))
        (d / "blobs/c").write_text(json.dumps(CFG))
        os.symlink("../../blobs/w", d / "snapshots/rev/model.safetensors")
        os.symlink("../../blobs/c", d / "snapshots/rev/config.json")

    c.ck(
        "hub_cache_symlinks",
        K,
        "ok",
        cfg=False,
        blob=False,
        path="snapshots/rev",
        extra=cache,
        note="the hub cache stores real files as links to ../../blobs: links to regular files must work",
    )
    c.ck(
        "single_file_path", K, "any", path="model.safetensors", note="a file instead of a directory on the command line"
    )


def header(c):
    K = "header"
    j, data = split(st(weights()))

    def e(slug, b, note="", exp="error", **k):
        return c.ck(slug, k.pop("cat", K), exp, blob=b, note=note, **k)

    e("empty_file", b"")
    for i in (1, 7):
        e(f"only_{i}_bytes", b"\x08" * i)
    e("len_zero", raw(b"", data), "N=0: no JSON at all")
    e("len_only", struct.pack("<Q", len(j)))
    e("truncated_mid_json", raw(j[: len(j) // 2], b"", len(j)))
    e("len_minus_1", raw(j.rstrip(), data, len(j.rstrip()) - 1))
    e("len_plus_1", raw(j.rstrip(), data, len(j.rstrip()) + 1), "swallows a data byte")
    for nm, n in (
        ("2p63", 2**63),
        ("2p64m1", 2**64 - 1),
        ("2p64m8", 2**64 - 8),
        ("2p64m9", 2**64 - 9),
        ("2p32", 2**32),
        ("2p31", 2**31),
        ("cap_plus_1", 100_000_001),
        ("file_size", 8 + len(j) + len(data)),
    ):
        e(f"len_{nm}", raw(j, data, n), "2^64-8 + 8 wraps to 0" if nm == "2p64m8" else "")
    e("len_trunc32", raw(j, data, 2**32 + len(j)), "low 32 bits are the true length: catches a size_t->u32 cut")
    e("len_negative_as_signed", raw(j, data, 2**64 - len(j)))
    e("big_endian_len", struct.pack(">Q", len(j)) + j + data)
    e("not_utf8_ff", raw(b'{"\xff\xfe":' + j[1:20], data))
    e("not_utf8_in_name", raw(j.replace(b"q_proj", b"q\xc3\x28oj"), data))
    e("utf8_overlong", raw(j.replace(b"q_proj", b"q\xc0\xafroj"), data))
    e("utf8_raw_surrogate", raw(j.replace(b"q_proj", b"q\xed\xa0\x80oj"), data))
    e("utf16_json", raw(j.decode().encode("utf-16-le"), data))
    e("bom_utf8", raw(b"\xef\xbb\xbf" + j, data), "reference reader refuses a BOM")
    e("nul_padding", raw(j.rstrip() + b"\0" * 8, data), "padding must be blanks")
    e(
        "leading_blank",
        raw(b" \n" + j, data),
        "text says '{' must come first, the reference code accepts blanks",
        exp="any",
    )
    e("trailing_json", raw(j.rstrip() + b" {}", data))
    for nm, t in (
        ("array", "[]"),
        ("string", '"x"'),
        ("number", "1"),
        ("null", "null"),
        ("empty_obj", "{}"),
        ("unterminated", '{"a'),
        ("single_quotes", "{'a':1}"),
        ("nan_literal", '{"a":NaN}'),
        ("comment", "{/* */}"),
    ):
        e(
            f"json_{nm}",
            raw(t),
            "empty object is a legal file with no tensors, so nothing can be scanned" if nm == "empty_obj" else "",
        )
    e("json_trailing_comma", raw(j.rstrip()[:-1] + b",}", data))
    e("json_raw_control_char", raw(j.replace(b"q_proj", b"q\x01proj", 1), data))
    e(
        "json_raw_esc",
        raw(j.replace(b"q_proj", b"q\x1b[31m", 1), data),
        "raw ESC inside a JSON string is invalid JSON; must not be echoed",
    )
    e("json_lone_surrogate_escape", raw(j.replace(b"q_proj", b"q\\ud800", 1), data))
    e("json_bad_escape", raw(j.replace(b"q_proj", b"q\\xproj", 1), data))
    N = 100000
    e("bomb_depth_array", raw(b'{"a":' + b"[" * N + b"]" * N + b"}"), "recursion bomb", cat="json_bomb")
    e("bomb_depth_object", raw(b'{"a":' * N + b"1" + b"}" * N), "recursion bomb", cat="json_bomb")
    e("bomb_depth_unclosed", raw(b"[" * 2_000_000), "recursion bomb without closers", cat="json_bomb")
    e("bomb_depth_in_metadata", raw(b'{"__metadata__":' + b'{"a":' * N + b'"b"' + b"}" * N + b"}"), cat="json_bomb")
    e(
        "bomb_depth_in_skipped_field",
        raw(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":' + b"[" * N + b"]" * N + b"}}"),
        cat="json_bomb",
    )
    e(
        "bomb_number_1mb",
        raw(b'{"a":{"dtype":"U8","shape":[' + b"9" * (1 << 20) + b'],"data_offsets":[0,0]}}'),
        cat="json_bomb",
    )
    e("bomb_number_exponent", raw(b'{"a":{"dtype":"U8","shape":[1e999999999],"data_offsets":[0,0]}}'), cat="json_bomb")
    e(
        "bomb_shape_1e6_dims",
        raw(b'{"a":{"dtype":"U8","shape":[' + b"2," * 999999 + b'2],"data_offsets":[0,1]}}', b"x"),
        cat="json_bomb",
    )
    e(
        "rank_1e5_ones",
        hdr_edit(
            lambda h: (
                h.update({"z": {"dtype": "U8", "shape": [1] * 100000, "data_offsets": [0, 0]}})
                or h.__setitem__("z", {"dtype": "U8", "shape": [1] * 99999 + [0], "data_offsets": [0, 0]})
            )
        ),
        "rank 10^5; the reference sets no rank limit",
        exp="any",
        cat="json_bomb",
    )
    # duplicates
    one = b'"z":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
    o = len(data)
    K2 = "duplicate"
    e(
        "same_name_same_range",
        raw(j.rstrip()[:-1] + b"," + one % (o, o + 1) + b"," + one % (o, o + 1) + b"}", data + b"x"),
        "the text forbids duplicate keys; the reference code keeps the last one and accepts",
        cat=K2,
    )
    e(
        "same_name_other_range",
        raw(j.rstrip()[:-1] + b"," + one % (o, o + 1) + b"," + one % (o + 1, o + 2) + b"}", data + b"xy"),
        cat=K2,
    )
    e(
        "q_proj_twice",
        raw(
            j.rstrip()[:-1] + b',"' + Q0.encode() + b'":{"dtype":"F32","shape":[0],"data_offsets":[%d,%d]}}' % (o, o),
            data,
        ),
        "last-wins would hide the real tensor",
        cat=K2,
    )
    z0 = b'"%s":{"dtype":"U8","shape":[0],"data_offsets":[%d,%d]}'
    e(
        "same_name_by_escape",
        raw(j.rstrip()[:-1] + b"," + z0 % (b"z", o, o) + b"," + z0 % (b"\\u007a", o, o) + b"}", data),
        "equal after unescaping",
        cat=K2,
    )
    e("field_dtype_twice", raw(j.replace(b'"dtype":"F32"', b'"dtype":"F32","dtype":"F32"', 1), data), cat=K2)
    e("metadata_twice", raw(b'{"__metadata__":{"a":"1"},"__metadata__":{"a":"2"},' + j[1:], data), cat=K2)
    K3 = "metadata"
    e("value_number", raw(b'{"__metadata__":{"a":1},' + j[1:], data), "values must be strings", cat=K3)
    e("value_nested", raw(b'{"__metadata__":{"a":{"b":"c"}},' + j[1:], data), cat=K3)
    e("list", raw(b'{"__metadata__":[],' + j[1:], data), cat=K3)
    e("null", raw(b'{"__metadata__":null,' + j[1:], data), "reference accepts null", exp="any", cat=K3)
    e(
        "is_tensor",
        raw(b'{"__metadata__":{"dtype":"F32","shape":"x","data_offsets":"y"},' + j[1:], data),
        "string map that looks like a tensor: legal",
        exp="ok",
        cat=K3,
    )


def tensorinfo(c):
    K = "shape"
    nb = D * D * 4

    def q(slug, field, val, cat=K, exp="error", note="", want=None, **kw):
        c.ck(slug, cat, exp, want=want, note=note, blob=hdr_edit(lambda h: h[Q0].__setitem__(field, val)), **kw)

    def qraw(slug, txt, cat=K, exp="error", note=""):
        j, data = split(st(weights()))
        old = b'"%s":{"dtype":"F32","shape":[32,32]' % Q0.encode()
        assert old in j
        c.ck(slug, cat, exp, note=note, blob=raw(j.replace(old, old.replace(b"[32,32]", txt.encode())), data))

    for nm, s in (
        ("negative", [-32, -32]),
        ("negative_one", [-1, D]),
        ("float", [32.0, 32.0]),
        ("string", ["32", "32"]),
        ("bool", [True, True]),
        ("null", None),
        ("object", {"0": 32}),
        ("nested", [[32, 32]]),
        ("scalar", 1024),
        ("too_small", [31, 32]),
        ("too_big", [33, 32]),
        ("empty_rank0", []),
        ("rank1", [1024]),
        ("rank3", [1, 32, 32]),
        ("transposed_16x64", [16, 64]),
    ):
        q(f"shape_{nm}", "shape", s)
    for nm, s in (
        ("2p63", [2**63]),
        ("2p64m1", [2**64 - 1]),
        ("2p64", [2**64]),
        ("2p65_plus", [2**65 + 1024]),
        ("prod_2p64", [2**32, 2**32]),
        ("prod_wraps_to_size", [2**63 + 512, 2]),
        ("bytes_wrap_to_size", [2**62 + 1024]),
        ("bits_wrap_to_size", [2**59 + 1024]),
        ("three_way_wrap", [2**22, 2**22, 2**20]),
        ("int32_wrap", [2**32 + 32, 32]),
        ("huge_then_zero", [2**64 - 1, 2, 0]),
    ):
        q(
            f"shape_{nm}",
            "shape",
            s,
            cat="overflow",
            note="product is equal to the true size modulo 2^64" if "wraps" in nm or "wrap_to" in nm else "",
        )
    qraw("shape_exponent_number", "[3.2e1,32]")
    qraw("shape_minus_zero", "[-0,32]")
    qraw("shape_leading_zero", "[032,32]")
    qraw("shape_hex", "[0x20,32]")
    qraw("shape_plus_sign", "[+32,32]")
    K = "offsets"
    off = json.loads(split(st(weights()))[0])[Q0]["data_offsets"]
    a, b = off
    for nm, o in (
        ("reversed", [b, a]),
        ("shifted_overlap", [a - 4, b - 4]),
        ("shifted_gap", [a + 4, b + 4]),
        ("end_out_of_file", [a, 10**9]),
        ("both_out_of_file", [10**9, 10**9 + nb]),
        ("negative", [-nb, 0]),
        ("float", [float(a), float(b)]),
        ("one", [a]),
        ("three", [a, b, b]),
        ("empty", []),
        ("null", None),
        ("string", f"{a},{b}"),
        ("zero_len", [a, a]),
        ("2p63", [2**63, 2**63 + nb]),
        ("wrap", [2**64 - 4, nb - 4]),
        ("2p64", [2**64, 2**64 + nb]),
        ("same_as_k", None),
        ("off_by_one_misaligned", [a + 1, b + 1]),
    ):
        if nm == "same_as_k":
            c.ck(
                "offsets_two_tensors_same_range",
                K,
                "error",
                blob=hdr_edit(lambda h: h["model.layers.1.self_attn.q_proj.weight"].__setitem__("data_offsets", off)),
            )
        else:
            q(f"offsets_{nm}", "data_offsets", o, cat=K)
    j, data = split(st(weights()))

    def shift(h):
        for v in h.values():
            v["data_offsets"] = [x + 8 for x in v["data_offsets"]]

    c.ck("hole_at_start", K, "error", blob=hdr_edit(shift) + b"\0" * 8)
    c.ck(
        "trailing_byte",
        K,
        "error",
        blob=st(weights()) + b"\0",
        note="the data section must be covered exactly: stops polyglots",
    )
    c.ck("missing_last_byte", K, "error", blob=st(weights())[:-1])
    c.ck("no_data_at_all", K, "error", blob=raw(j))
    z = tzip([("x", b"y")])
    c.ck("polyglot_zip_tail", K, "error", blob=st(weights()) + z)
    c.ck(
        "overlap_amplification",
        K,
        "error",
        note="2000 tensors on one 4 KiB range: loads 500x its size if overlaps are allowed",
        blob=raw(
            json.dumps({f"w{i}": {"dtype": "F32", "shape": [32, 32], "data_offsets": [0, nb]} for i in range(2000)}),
            bytes(nb),
        ),
    )
    big = 2**61 - 1
    c.ck(
        "sum_of_sizes_2p64",
        "overflow",
        "error",
        note="each tensor is representable, the sum is not",
        blob=raw(
            json.dumps(
                {
                    **{
                        f"a{i}": {"dtype": "U8", "shape": [big], "data_offsets": [i * big, (i + 1) * big]}
                        for i in range(8)
                    },
                    "b": {"dtype": "U8", "shape": [7], "data_offsets": [8 * big, 2**64 - 1]},
                }
            )
        ),
    )
    K = "dtype"
    for nm, d in (
        ("unknown", "F33"),
        ("lowercase", "f32"),
        ("empty", ""),
        ("trailing_blank", "F32 "),
        ("number", 32),
        ("null", None),
        ("list", ["F32"]),
        ("object_dtype", "O"),
        ("torch_name", "torch.float32"),
        ("numpy_name", "<f4"),
        ("injection", XSS + ESC + "[2J"),
        ("long", "F" * 100000),
        ("wrong_width_f16", "F16"),
        ("wrong_width_f64", "F64"),
    ):
        q(f"dtype_{nm}", "dtype", d, cat=K)
    for nm, d in (("i32", "I32"), ("u32", "U32")):
        q(f"q_proj_is_{nm}", "dtype", d, cat=K, note="integer data where a real weight is needed")
    c.ck("q_proj_is_bool", K, "error", mod=lambda w: w.update({Q0: T("BOOL", [32, 32], bytes(1024))}))
    c.ck("q_proj_is_complex", K, "error", mod=lambda w: w.update({Q0: T("C64", [32, 32], bytes(8192))}))
    c.ck(
        "f4_odd_count",
        K,
        "error",
        note="3*4 bits is not a whole number of bytes",
        mod=lambda w: w.update({"x": T("F4", [3], bytes(2))}),
    )
    c.ck("f6_misfit", K, "error", mod=lambda w: w.update({"x": T("F6_E2M3", [2], bytes(2))}))
    for f in ("dtype", "shape", "data_offsets"):
        c.ck(f"missing_{f}", "fields", "error", blob=hdr_edit(lambda h, f=f: h[Q0].pop(f) and None))
    c.ck(
        "unknown_field",
        "fields",
        "any",
        note="reference ignores unknown fields",
        blob=hdr_edit(lambda h: h[Q0].__setitem__("strides", [1, 32])),
    )
    c.ck(
        "entry_is_list", "fields", "error", blob=hdr_edit(lambda h: h.__setitem__(Q0, ["F32", [32, 32], off])), note=""
    )
    c.ck("entry_is_null", "fields", "error", blob=hdr_edit(lambda h: h.__setitem__(Q0, None)))


def names(c):
    K = "names"
    W = "(?s).*"
    for nm, s in (
        ("ansi_colour", f"x{ESC}[31;1mRED{ESC}[0m"),
        ("ansi_clear", f"{ESC}[2J{ESC}[H"),
        ("osc52_clipboard", f"{ESC}]52;c;cm0gLXJm\x07"),
        ("osc8_link", f"{ESC}]8;;http://x{ESC}\\y"),
        ("c1_csi", "\x9b31m"),
        ("newline_fake_line", "x\nOK: all checks passed\n"),
        ("carriage_return", "bad\rgood"),
        ("nul", "a\0b"),
        ("bell_bs_del", "\x07\x08\x7f"),
        ("html_script", XSS),
        ("html_img", IMG),
        ("html_close", f"</script></pre></td></table>{XSS}"),
        ("html_attr", '" onmouseover="hr_xss()" \''),
        ("json_break", '"}],"injected":true,"x":[{"'),
        ("markdown", "[x](javascript:hr_xss()) | a | b |"),
        ("csv_formula", '=HYPERLINK("http://x")'),
        ("printf", "%s%n%1000000d{}{0:1000000}"),
        ("path", "../../../../tmp/hr_pwn"),
        ("rtl_override", "gpj.\u202ethgiew"),
        ("shell", "$(touch hr_pwn); `id`"),
        ("empty", ""),
        ("dunder", "__metadata__x"),
    ):
        # once as a harmless extra tensor, and once as the offender that an error message would quote
        c.ck(
            f"ok_{nm}",
            K,
            "any" if nm in ("nul", "empty") else "ok",
            mod=lambda w, s=s: w.update({s: T("U8", [1], b"x")}),
        )
        if nm in (
            "ansi_colour",
            "ansi_clear",
            "osc52_clipboard",
            "c1_csi",
            "newline_fake_line",
            "html_script",
            "html_img",
            "html_close",
            "html_attr",
            "nul",
            "printf",
            "json_break",
        ):
            c.ck(
                f"err_{nm}",
                K,
                "error",
                blob=hdr_edit(lambda h, s=s: h.__setitem__(s, {"dtype": "F32", "shape": [3], "data_offsets": [0, 1]})),
                note="name is quoted by the error message",
            )
    c.ck(
        "layer_like_script",
        K,
        "any",
        note="an attention tensor with an extra, injected layer name",
        mod=lambda w: w.update({f"model.layers.{XSS}.self_attn.q_proj.weight": w[Q0]}),
    )
    c.ck(
        "layer_index_huge",
        K,
        "any",
        mod=lambda w: w.update({"model.layers.99999999999999999999.self_attn.q_proj.weight": w[Q0]}),
        note="stoi/stoul on the layer number throws or wraps",
    )
    c.ck(
        "layer_index_2p31",
        K,
        "any",
        mod=lambda w: w.update({"model.layers.2147483648.self_attn.q_proj.weight": w[Q0]}),
        note="vector.resize(layer+1) allocates",
    )
    c.ck("layer_index_negative", K, "any", mod=lambda w: w.update({"model.layers.-1.self_attn.q_proj.weight": w[Q0]}))
    c.ck(
        "name_1mb",
        K,
        "any",
        mod=lambda w: w.update({"n" * (1 << 20): T("U8", [1], b"x")}),
        note="must not be echoed whole",
    )
    c.ck(
        "name_1mb_error",
        K,
        "error",
        blob=hdr_edit(lambda h: h.__setitem__("n" * (1 << 20), {"dtype": "F32", "shape": [3], "data_offsets": [0, 1]})),
        note="message must be shortened",
    )
    c.ck(
        "names_10k_each_10kb",
        K,
        "any",
        flags=["slow"],
        mod=lambda w: w.update({f"{i:05d}" + "n" * 2000: T("U8", [1], b"x") for i in range(10000)}),
        note="20 MB of names",
    )
    c.ck("metadata_injection", K, "ok", meta={"format": "pt", XSS: IMG, "esc": ESC + "[31m", "title": XSS})
    c.ck(
        "config_injection",
        K,
        "any",
        cfg=dict(
            _name_or_path=XSS + ESC + "[31m",
            model_type="llama",
            architectures=["LlamaForCausalLM"],
            transformers_version=IMG,
        ),
    )
    c.ck(
        "config_arch_injection",
        K,
        "any",
        cfg=dict(architectures=[XSS + ESC + "[31m" + IMG], model_type=XSS + ESC + "[2J"),
    )
    d = c.add("dirname", K, "ok", path=f"a {XSS[1:7]}&{ESC}[31m 'q\" {{}}", note="the path itself holds ESC and quotes")
    if d is not None:
        p = c.root / c.rows[-1]["path"]
        p.mkdir(parents=True)
        (p / "config.json").write_text(json.dumps(CFG))
        (p / "model.safetensors").write_bytes(st(weights()))


def index(c):
    K = "index"
    S1, S2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

    def i(slug, edit, exp="error", note="", names=(S1, S2), want=None, cat=K, post=None, flags=()):
        def ex(d):
            c.shards(d, names, edit)
            if post:
                post(d)

        c.ck(slug, cat, exp, want, note, flags, blob=False, extra=ex)

    def setall(v):
        def f(ix):
            for k in list(ix["weight_map"]):
                if ix["weight_map"][k] == S2:
                    ix["weight_map"][k] = v

        return f

    T_ = "path_escape"
    for nm, v in (
        ("passwd_relative", "../../../../../../../../etc/passwd"),
        ("passwd_absolute", "/etc/passwd"),
        ("valid_sibling", "../001_f32/model.safetensors"),
        ("dot_slash_up", "./x/../../001_f32/model.safetensors"),
        ("backslash", "..\\..\\etc\\passwd"),
        ("file_url", "file:///etc/passwd"),
        ("http_url", "http://127.0.0.1:1/x.safetensors"),
        ("nul_cut", S2 + "\0/../x"),
        ("proc_self_mem", "/proc/self/mem"),
        ("proc_environ", "/proc/self/environ"),
        ("dev_zero", "/dev/zero"),
        ("dev_stdin", "/dev/stdin"),
        ("tilde", "~/x.safetensors"),
        ("pipe_cmd", "|touch hr_pwn"),
        ("percent", "%2e%2e/%2e%2e/etc/passwd"),
        ("long", "a/" * 5000 + "x"),
        ("esc", ESC + "[31m" + XSS),
    ):
        i(f"index_{nm}", setall(v), cat=T_)
    i(
        "index_abs_valid",
        lambda ix: (
            [ix["weight_map"].__setitem__(k, str(c.root / "001_f32/model.safetensors")) for k in ix["weight_map"]]
            and None
        ),
        cat=T_,
        note="absolute path to a perfectly valid file is still outside",
    )
    i(
        "missing_shard",
        None,
        names=(S1, S2),
        post=lambda d: (d / S2).unlink(),
        want=r"(?i)model-00002|missing|not found|no such",
    )
    i("shard_is_config", setall("config.json"))
    i("shard_is_index_itself", setall("model.safetensors.index.json"))
    i("shard_is_dot", setall("."))
    i("shard_is_dir", setall("sub"), post=lambda d: (d / "sub").mkdir())
    i("shard_empty_string", setall(""))
    i("shard_number", setall(2))
    i("shard_null", setall(None))
    i("shard_list", setall([S2]))
    i("shard_object", setall({"f": S2}))
    i("shard_truncated", None, post=lambda d: (d / S2).write_bytes((d / S2).read_bytes()[:-100]))
    i("shard_empty_file", None, post=lambda d: (d / S2).write_bytes(b""))
    i(
        "tensor_missing_from_shard",
        lambda ix: ix["weight_map"].__setitem__("model.layers.1.self_attn.k_norm.weight", S2),
        want=r"(?i)k_norm|missing|not in|not found",
    )
    i(
        "needed_tensor_in_wrong_shard",
        lambda ix: ix["weight_map"].__setitem__(Q0, S2),
        note="index sends q_proj to the shard that lacks it",
    )
    i(
        "needed_tensor_not_in_index",
        lambda ix: ix["weight_map"].pop(Q0) and None,
        "any",
        note="present on disk, absent from the index",
    )
    i(
        "same_tensor_in_both_shards",
        None,
        "any",
        post=lambda d: (d / S2).write_bytes(
            st({**{k: v for k, v in list(weights().items())[len(weights()) // 2 :]}, Q0: weights(99)[Q0]})
        ),
        note="two different copies of q_proj",
    )
    i(
        "weight_map_dup_key",
        lambda ix: json.dumps(ix).replace('"weight_map": {', f'"weight_map": {{"{Q0}": "{S2}",').encode(),
        note="key twice, two shards",
    )
    i(
        "shard_listed_twice_alias",
        lambda ix: [ix["weight_map"].__setitem__(k, "./" + S1) for k in list(ix["weight_map"])[:2]] and None,
        "any",
        note="./x and x are the same shard: must not be read as two",
    )
    i("no_weight_map", lambda ix: ix.pop("weight_map") and None)
    i("weight_map_list", lambda ix: ix.__setitem__("weight_map", []))
    i("weight_map_empty", lambda ix: ix.__setitem__("weight_map", {}))
    i("weight_map_null", lambda ix: ix.__setitem__("weight_map", None))
    i("top_array", lambda ix: b"[]")
    i("empty_json", lambda ix: b"")
    i("truncated", lambda ix: json.dumps(ix).encode()[:-20])
    i("bom", lambda ix: b"\xef\xbb\xbf" + json.dumps(ix).encode(), "any")
    i("not_utf8", lambda ix: json.dumps(ix).encode().replace(b"q_proj", b"q\xffproj"))
    i("depth_bomb", lambda ix: b'{"weight_map":' + b'{"a":' * 100000 + b"1" + b"}" * 100000 + b"}", cat="json_bomb")
    i("total_size_wrong", lambda ix: ix["metadata"].__setitem__("total_size", 1), "any")
    i("total_size_negative", lambda ix: ix["metadata"].__setitem__("total_size", -1), "any")
    i(
        "total_size_1e400",
        lambda ix: json.dumps(ix).replace('"total_size": ', '"total_size": 1' + "0" * 400).encode(),
        "any",
    )
    i(
        "1e5_missing_shards",
        lambda ix: {"weight_map": {f"t{k}": f"s{k}.safetensors" for k in range(100000)}},
        flags=["slow"],
    )
    i(
        "index_and_single_file",
        None,
        "any",
        post=lambda d: (d / "model.safetensors").write_bytes(st(weights(3))),
        note="two contradictory sources of truth",
    )
    i(
        "index_is_fifo",
        None,
        cat="filesystem",
        post=lambda d: ((d / "model.safetensors.index.json").unlink(), os.mkfifo(d / "model.safetensors.index.json")),
    )
    i("shard_is_fifo", None, cat="filesystem", post=lambda d: ((d / S2).unlink(), os.mkfifo(d / S2)))
    i(
        "shard_is_dev_zero_link",
        None,
        cat="filesystem",
        post=lambda d: ((d / S2).unlink(), os.symlink("/dev/zero", d / S2)),
    )
    i("shard_link_loop", None, cat="filesystem", post=lambda d: ((d / S2).unlink(), os.symlink(S2, d / S2)))


def config(c):
    K = "config"

    def e(slug, cfg=None, exp="error", want=None, note="", **k):
        return c.ck(slug, K, exp, want, note, cfg=cfg, **k)

    e("missing", False, want=r"(?i)config")
    for nm, b in (
        ("empty", b""),
        ("not_json", b"hello"),
        ("array", b"[]"),
        ("truncated", json.dumps(CFG).encode()[:-10]),
        ("not_utf8", b'{"a":"\xff"}'),
        ("null", b"null"),
        ("empty_object", b"{}"),
        ("depth_bomb", b'{"a":' * 100000 + b"1" + b"}" * 100000),
    ):
        c.ck(f"cfg_{nm}", K, "error", cfgraw=b)
    c.ck("cfg_bom", K, "any", cfgraw=b"\xef\xbb\xbf" + json.dumps(CFG).encode())
    c.ck(
        "cfg_dup_heads",
        K,
        "any",
        cfgraw=json.dumps(CFG)[:-1] + ',"num_attention_heads":8}',
        note="contradicting duplicate key",
    )
    c.ck("cfg_5mb_junk", K, "ok", cfg={"junk": ["x" * 1000] * 5000})
    c.ck(
        "cfg_python_literals",
        K,
        "any",
        cfgraw=json.dumps({**CFG, "rope_theta": float("inf"), "x": float("nan")}),
        note="Python's json writes NaN/Infinity",
    )
    h = "(?i)head"
    for nm, kw in (
        ("heads_zero", dict(num_attention_heads=0)),
        ("heads_negative", dict(num_attention_heads=-4)),
        ("heads_float", dict(num_attention_heads=4.5)),
        ("heads_string", dict(num_attention_heads="4")),
        ("heads_null", dict(num_attention_heads=None)),
        ("heads_list", dict(num_attention_heads=[4, 4])),
        ("heads_2p31", dict(num_attention_heads=2**31)),
        ("heads_2p63", dict(num_attention_heads=2**63)),
        ("heads_1e400", dict(num_attention_heads=10**400)),
        ("heads_not_dividing", dict(num_attention_heads=5, head_dim=None)),
        ("heads_contradict_shape", dict(num_attention_heads=8)),
        ("kv_gt_heads", dict(num_key_value_heads=8)),
        ("kv_not_dividing", dict(num_key_value_heads=3)),
        ("kv_zero", dict(num_key_value_heads=0)),
        ("kv_negative", dict(num_key_value_heads=-2)),
        ("kv_contradict_shape", dict(num_key_value_heads=4)),
        ("head_dim_zero", dict(head_dim=0)),
        ("head_dim_negative", dict(head_dim=-8)),
        ("head_dim_mismatch", dict(head_dim=16)),
        ("head_dim_huge", dict(head_dim=2**62)),
        ("head_dim_float", dict(head_dim=8.5)),
    ):
        e(
            nm, kw, want=None if nm in ("heads_2p63", "heads_1e400", "head_dim_huge") else h
        )  # those may die in the JSON number
    # same product, other split: heads 8 x head_dim 4 fits q_proj and kv 4 x 4 fits k_proj: cannot be seen from shapes
    e(
        "split_ambiguous",
        dict(num_attention_heads=8, num_key_value_heads=4, head_dim=4),
        "ok",
        note="consistent with the shapes though not the true split; undetectable",
    )
    for nm, kw in (
        ("hidden_zero", dict(hidden_size=0)),
        ("hidden_negative", dict(hidden_size=-32)),
        ("hidden_mismatch", dict(hidden_size=64)),
        ("hidden_missing", dict(hidden_size=None, head_dim=None)),
        ("layers_negative", dict(num_hidden_layers=-1)),
        ("layers_zero", dict(num_hidden_layers=0)),
        ("layers_more_than_present", dict(num_hidden_layers=3)),
        ("layers_1e9", dict(num_hidden_layers=10**9)),
        ("layers_2p63", dict(num_hidden_layers=2**63)),
        ("layers_float", dict(num_hidden_layers=2.5)),
        ("arch_unknown", dict(architectures=["FooBarModel"], model_type="foobar")),
    ):
        e(nm, kw, note="must not allocate per declared layer" if "1e9" in nm else "")
    e("layers_fewer_than_present", dict(num_hidden_layers=1), "any")
    e("arch_missing", dict(architectures=None), "any")
    e("arch_not_list", dict(architectures="LlamaForCausalLM"), "any")
    e("vocab_mismatch", dict(vocab_size=65), "any")
    e("rope_theta_zero", dict(rope_theta=0), "any")
    e("rope_theta_negative", dict(rope_theta=-1), "any")
    e("rope_scaling_garbage", dict(rope_scaling={"type": ["x"], "factor": "y"}), "any")
    e("eps_negative", dict(rms_norm_eps=-1e-5), "any")
    e("eps_string", dict(rms_norm_eps="1e-5"), "any")
    e("dtype_garbage", dict(torch_dtype="evil"), "any")
    e("max_pos_negative", dict(max_position_embeddings=-1), "any")
    K2 = "missing_tensor"

    def m(slug, fn, exp="error", want=None, note="", cat=K2):
        return c.ck(slug, cat, exp, want, note, mod=fn)

    def drop(s):
        return lambda w: {k: v for k, v in w.items() if s not in k}

    m("no_q_proj_layer0", drop(Q0), want="(?i)q_proj")
    m("no_k_proj_layer1", drop("layers.1.self_attn.k_proj"), want="(?i)k_proj")
    m("no_attention_at_all", drop("self_attn"))
    m("no_layer_1", drop("layers.1."))
    m("no_input_norm", drop("input_layernorm"), "any")
    m("no_embed", drop("embed_tokens"), "any")
    K3 = "wrong_shape"

    def sh(name, a):
        return lambda w: w.update({name: np.ones(a, np.float32)})

    for nm, t, s in (
        ("q_rank1", Q0, (1024,)),
        ("q_rank3", Q0, (4, 8, 32)),
        ("q_in_wrong", Q0, (32, 33)),
        ("q_out_wrong", Q0, (33, 32)),
        ("k_in_wrong", K0, (16, 31)),
        ("k_rows_not_multiple", K0, (15, 32)),
        ("q_zero_rows", Q0, (0, 32)),
        ("q_zero_cols", Q0, (32, 0)),
        ("k_zero", K0, (0, 0)),
        ("q_rank0", Q0, ()),
        ("k_conv1d_transposed", K0, (32, 16)),
    ):
        m(nm, sh(t, s), cat=K3, note="Conv1D stores [in,out], Linear stores [out,in]" if "conv1d" in nm else "")
    m("norm_wrong_len", sh("model.layers.0.input_layernorm.weight", (31,)), "any", cat=K3)
    m("layers_differ", sh("model.layers.1.self_attn.q_proj.weight", (64, 32)), cat=K3)
    m(
        "q_bias_wrong_len",
        lambda w: w.update({"model.layers.0.self_attn.q_proj.bias": np.ones(7, np.float32)}),
        "any",
        cat=K3,
    )

    def gpt2(shape):
        cf = dict(
            architectures=["GPT2LMHeadModel"],
            model_type="gpt2",
            n_embd=D,
            n_head=H,
            n_layer=1,
            n_positions=64,
            vocab_size=V,
        )
        g = np.random.default_rng(3)
        w = {
            "wte.weight": g.standard_normal((V, D)),
            "wpe.weight": g.standard_normal((64, D)),
            "h.0.ln_1.weight": np.ones(D),
            "h.0.ln_1.bias": np.zeros(D),
            "h.0.attn.c_attn.weight": g.standard_normal(shape),
            "h.0.attn.c_attn.bias": np.zeros(3 * D),
            "h.0.attn.c_proj.weight": g.standard_normal((D, D)),
            "h.0.attn.c_proj.bias": np.zeros(D),
            "h.0.ln_2.weight": np.ones(D),
            "h.0.ln_2.bias": np.zeros(D),
            "h.0.mlp.c_fc.weight": g.standard_normal((D, 4 * D)),
            "h.0.mlp.c_fc.bias": np.zeros(4 * D),
            "h.0.mlp.c_proj.weight": g.standard_normal((4 * D, D)),
            "h.0.mlp.c_proj.bias": np.zeros(D),
            "ln_f.weight": np.ones(D),
            "ln_f.bias": np.zeros(D),
        }
        return dict(cfgraw=json.dumps(cf), w={k: v.astype(np.float32) for k, v in w.items()})

    c.ck("gpt2_conv1d_right", K3, "any", note="[in, 3*out]: right for GPT-2, if supported", **gpt2((D, 3 * D)))
    c.ck(
        "gpt2_conv1d_as_linear",
        K3,
        "error",
        note="[3*out, in]: orientation contradicts the architecture",
        **gpt2((3 * D, D)),
    )
    c.ck("gpt2_c_attn_not_3d", K3, "error", **gpt2((D, 3 * D + 1)))
    c.ck(
        "gpt2_heads_not_dividing",
        K,
        "error",
        **{
            **gpt2((D, 3 * D)),
            "cfgraw": json.dumps(
                dict(architectures=["GPT2LMHeadModel"], model_type="gpt2", n_embd=D, n_head=5, n_layer=1, vocab_size=V)
            ),
        },
    )


class Evil:
    def __init__(s, marker):
        s.marker = marker

    def __reduce__(s):
        return (open, (s.marker, "w"))


def tzip(entries, compress=zipfile.ZIP_STORED):
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", compress) as z:
        for n, d in entries:
            z.writestr(zipfile.ZipInfo(n, (1980, 1, 1, 0, 0, 0)), d)
    return b.getvalue()


def zip_bomb(logical=(4 << 30) - (64 << 20)):
    blk = bytes(64 << 20)
    o = zlib.compressobj(9, zlib.DEFLATED, -15)
    seg = o.compress(blk) + o.flush(zlib.Z_FULL_FLUSH)
    k = logical // len(blk)
    crc = 0
    for _ in range(k):
        crc = zlib.crc32(blk, crc)
    comp = seg * k + b"\x03\x00"
    name = b"archive/data/0"
    lf = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 33, crc, len(comp), logical, len(name), 0) + name
    cd = (
        struct.pack(
            "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 8, 0, 33, crc, len(comp), logical, len(name), 0, 0, 0, 0, 0, 0
        )
        + name
    )
    return lf + comp + cd + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(cd), len(lf) + len(comp), 0)


def pickles(c):
    K = "pickle"
    want = r"(?i)pickle|\.bin|\.pt|unsafe|unsupported|refus|not a safetensors|safetensors"
    m = c.marker
    ev = pickle.dumps(Evil(m[0]), 2)
    glob = b"cbuiltins\nopen\n(V" + m[2].encode() + b"\nVw\ntR."  # protocol 0 GLOBAL + REDUCE

    def p(slug, b, fname, exp="error", note="", **k):
        return c.ck(slug, K, exp, want, note, blob=b, fname=fname, **k)

    p("bin_raw", ev, "pytorch_model.bin", note="executes on unpickling: creates a marker file")
    p("bin_proto0", glob, "pytorch_model.bin")
    p(
        "bin_zip",
        tzip(
            [
                ("archive/data.pkl", pickle.dumps(Evil(m[1]), 2)),
                ("archive/version", b"3\n"),
                ("archive/data/0", bytes(64)),
            ]
        ),
        "pytorch_model.bin",
        note="torch zip container",
    )
    p(
        "pt_zip",
        tzip([("archive/data.pkl", pickle.dumps(Evil(m[1]), 2)), ("archive/version", b"3\n")]),
        "model.pt",
        path="model.pt",
    )
    p("pth_raw", ev, "consolidated.00.pth")
    p("bin_benign_dict", pickle.dumps({"a": [1.0, 2.0]}, 2), "pytorch_model.bin", note="no payload, still refused")
    p("pickle_named_safetensors", ev, "model.safetensors")
    p("zip_named_safetensors", tzip([("data.pkl", ev)]), "model.safetensors")
    p("path_to_bin", ev, "pytorch_model.bin", path="pytorch_model.bin")
    p("legacy_torch_magic", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + ev, "pytorch_model.bin")
    c.ck(
        "bin_index",
        K,
        "error",
        want,
        blob=ev,
        fname="pytorch_model-00001-of-00001.bin",
        extra=lambda d: (d / "pytorch_model.bin.index.json").write_text(
            json.dumps({"weight_map": {Q0: "pytorch_model-00001-of-00001.bin"}})
        ),
    )
    c.ck(
        "safetensors_index_to_bin",
        K,
        "error",
        want,
        blob=ev,
        fname="pytorch_model.bin",
        note="safetensors index that names a pickle shard",
        extra=lambda d: (d / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {k: "pytorch_model.bin" for k in weights()}})
        ),
    )
    c.ck(
        "bin_next_to_safetensors",
        K,
        "ok",
        note="the valid safetensors must be used, the pickle never touched",
        extra=lambda d: (d / "pytorch_model.bin").write_bytes(ev),
    )
    c.ck(
        "remote_code_files",
        K,
        "ok",
        cfg={"auto_map": {"AutoModelForCausalLM": "evil.Model"}, "trust_remote_code": True},
        extra=lambda d: (d / "evil.py").write_text(f"open({m[3]!r},'w')\n"),
        note="Python in the directory must never run",
    )
    K = "zip"

    def p2(slug, b, fname, note=""):
        return c.ck(slug, K, "error", want, note, blob=b, fname=fname)

    p2("bomb_4gib", zip_bomb(), "pytorch_model.bin", "4 MB that inflates to almost 4 GiB")
    p2(
        "bomb_nested",
        tzip(
            [("a.zip", tzip([("b.zip", tzip([("c", bytes(8 << 20))], zipfile.ZIP_DEFLATED))], zipfile.ZIP_DEFLATED))],
            zipfile.ZIP_DEFLATED,
        ),
        "model.pt",
    )
    p2(
        "slip",
        tzip([("../../../../tmp/hr_pwn", b"x"), ("/tmp/hr_pwn2", b"x")]),
        "pytorch_model.bin",
        "path traversal in entry names",
    )
    p2("truncated", tzip([("archive/data.pkl", ev)])[:-10], "pytorch_model.bin")
    p2("eocd_only", b"PK\5\6" + bytes(18), "pytorch_model.bin")
    p2(
        "entry_count_lie",
        b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 65535),
        "pytorch_model.bin",
    )
    K = "other_format"
    for nm, fn, b in (
        ("npz", "model.npz", tzip([("a.npy", b"\x93NUMPY")])),
        ("hdf5", "tf_model.h5", b"\x89HDF\r\n\x1a\n" + bytes(64)),
        ("onnx", "model.onnx", b"\x08\x07\x12\x04test"),
        ("elf", "model.safetensors", b"\x7fELF" + bytes(60)),
        ("html_error_page", "model.safetensors", b"<!DOCTYPE html><html>404 " + XSS.encode()),
        (
            "git_lfs_pointer",
            "model.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n",
        ),
    ):
        c.ck(
            nm,
            K,
            "error",
            blob=b,
            fname=fn,
            note="a common accident: the LFS pointer was checked out, not the file" if "lfs" in nm else "",
        )


def gguf(c):
    K = "gguf"

    def S(s):
        return struct.pack("<Q", len(s)) + s

    def kv(k, t, v):
        return S(k) + struct.pack("<I", t) + v

    arch = kv(b"general.architecture", 8, S(b"llama"))

    def f(nt, nkv, kvs, tis, data=b"", ver=3, magic=b"GGUF", al=32):
        b = magic + struct.pack("<IQQ", ver, nt & (2**64 - 1), nkv & (2**64 - 1)) + kvs + tis
        return b + bytes(-len(b) % al) + data

    def ti(n, dims, ty, off, nd=None):
        return (
            S(n)
            + struct.pack("<I", len(dims) if nd is None else nd)
            + b"".join(struct.pack("<Q", d & (2**64 - 1)) for d in dims)
            + struct.pack("<IQ", ty, off & (2**64 - 1))
        )

    def u32(k, v):
        return kv(k, 4, struct.pack("<I", v))

    cases = dict(
        magic_only=b"GGUF",
        bad_magic=f(0, 0, b"", b"", magic=b"GGJT"),
        version_0=f(0, 1, arch, b"", ver=0),
        version_1=f(0, 1, arch, b"", ver=1),
        version_big_endian=f(0, 1, arch, b"", ver=0x03000000),
        version_99=f(0, 1, arch, b"", ver=99),
        n_tensors_m1=f(-1, 1, arch, b""),
        n_tensors_2p60=f(2**60, 1, arch, b""),
        n_tensors_wraps_overhead=f(2**64 // 368 + 1, 1, arch, b""),
        n_kv_m1=f(0, -1, arch, b""),
        n_kv_2p59=f(0, 2**59, arch, b""),
        n_kv_1e9=f(0, 10**9, arch, b""),
        key_len_m1=f(0, 1, struct.pack("<Q", 2**64 - 1) + b"abc", b""),
        key_len_2p63=f(0, 1, struct.pack("<Q", 2**63) + b"abc", b""),
        key_len_1gib=f(0, 1, struct.pack("<Q", 1 << 30) + b"abc", b""),
        key_empty=f(0, 1, kv(b"", 4, bytes(4)), b""),
        str_len_m1=f(0, 1, S(b"k") + struct.pack("<IQ", 8, 2**64 - 1), b""),
        arr_len_2p61=f(0, 1, S(b"k") + struct.pack("<IIQ", 9, 10, 2**61), b""),
        arr_len_strings_2p40=f(0, 1, S(b"k") + struct.pack("<IIQ", 9, 8, 2**40), b""),
        arr_nested_deep=f(0, 1, S(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100000, b""),
        kv_type_99=f(0, 1, S(b"k") + struct.pack("<I", 99), b""),
        kv_type_m1=f(0, 1, S(b"k") + struct.pack("<i", -1), b""),
        dup_key=f(0, 2, arch + arch, b""),
        align_0=f(1, 2, arch + u32(b"general.alignment", 0), ti(b"a", [4], 0, 0), bytes(16)),
        align_13=f(1, 2, arch + u32(b"general.alignment", 13), ti(b"a", [4], 0, 0), bytes(16)),
        align_2p31=f(1, 2, arch + u32(b"general.alignment", 2**31), ti(b"a", [4], 0, 0), bytes(16)),
        align_wrong_type=f(
            1, 2, arch + kv(b"general.alignment", 5, struct.pack("<i", 32)), ti(b"a", [4], 0, 0), bytes(16)
        ),
        dims_5=f(1, 1, arch, ti(b"a", [1] * 5, 0, 0), bytes(32)),
        dims_2p31=f(1, 1, arch, ti(b"a", [], 0, 0, 2**31)),
        dim_negative=f(1, 1, arch, ti(b"a", [-1, 4], 0, 0), bytes(32)),
        dims_product_wraps=f(1, 1, arch, ti(b"a", [2**32, 2**32], 0, 0), bytes(32)),
        ne_int64max_times_2=f(1, 1, arch, ti(b"a", [2**63 - 1, 2], 24, 0), bytes(32)),
        nbytes_wraps=f(1, 1, arch, ti(b"a", [2**62], 0, 0), bytes(32)),
        pad_wraps_to_zero=f(2, 1, arch, ti(b"a", [2**62 - 1], 0, 0) + ti(b"b", [4], 0, 0), bytes(64)),
        sum_of_sizes_wraps=f(
            2, 1, arch, ti(b"a", [2**63 - 64], 24, 0) + ti(b"b", [2**63 - 64], 24, 2**63 - 64), bytes(64)
        ),
        type_unknown=f(1, 1, arch, ti(b"a", [4], 9999, 0), bytes(32)),
        type_negative=f(1, 1, arch, ti(b"a", [4], 2**32 - 1, 0), bytes(32)),
        row_not_block_multiple=f(1, 1, arch, ti(b"a", [33], 8, 0), bytes(64)),
        offset_out_of_file=f(1, 1, arch, ti(b"a", [4], 0, 2**40), bytes(32)),
        offset_wraps=f(1, 1, arch, ti(b"a", [4], 0, 2**64 - 32), bytes(32)),
        offset_misaligned=f(1, 1, arch, ti(b"a", [4], 0, 1), bytes(32)),
        data_truncated=f(1, 1, arch, ti(b"a", [4096], 0, 0), bytes(32)),
        dup_tensor=f(2, 1, arch, ti(b"a", [8], 0, 0) + ti(b"a", [8], 0, 32), bytes(64)),
        name_len_m1=f(1, 1, arch, struct.pack("<Q", 2**64 - 1) + b"a"),
        name_esc=f(1, 1, arch, ti((ESC + "[31m" + XSS).encode(), [4], 9999, 0), bytes(32)),
        block_count_2p31=f(0, 2, arch + u32(b"llama.block_count", 2**31), b""),
        no_tensors=f(0, 1, arch, b""),
    )
    for k, b in cases.items():
        c.ck(k, K, "error", blob=b, fname="model.gguf", path="model.gguf")


def filesystem(c):
    K = "filesystem"

    def f(slug, fn, exp="error", note="", flags=(), want=None, path=None, cfg=True):
        d = c.add(slug, K, exp, want, note, flags, path)
        if d is not None:
            if cfg:
                (d / "config.json").write_text(json.dumps(CFG))
            fn(d)

    ms = "model.safetensors"
    f("empty_dir", lambda d: None, cfg=False)
    f("config_only", lambda d: None, want=r"(?i)safetensors|weight|no ")
    f("not_existing", lambda d: None, path="nope", cfg=False)
    f("dir_instead_of_file", lambda d: (d / ms).mkdir())
    f("fifo_model", lambda d: os.mkfifo(d / ms), note="open() on a FIFO blocks for ever")
    f(
        "fifo_config",
        lambda d: ((d / "config.json").unlink(), os.mkfifo(d / "config.json"), (d / ms).write_bytes(st(weights()))),
    )
    f("fifo_as_path", lambda d: os.mkfifo(d / "x.safetensors"), path="x.safetensors")

    def sock(d):
        s = socket.socket(socket.AF_UNIX)
        cwd = os.getcwd()
        os.chdir(d)
        try:
            s.bind(ms)
        finally:
            os.chdir(cwd)
            s.close()

    f("unix_socket", sock)
    for nm, t in (
        ("dev_zero", "/dev/zero"),
        ("dev_urandom", "/dev/urandom"),
        ("dev_null", "/dev/null"),
        ("dev_full", "/dev/full"),
        ("dev_tty", "/dev/tty"),
        ("dev_stdin", "/dev/stdin"),
        ("proc_self_mem", "/proc/self/mem"),
        ("proc_self_maps", "/proc/self/maps"),
        ("proc_environ", "/proc/self/environ"),
        ("etc_passwd", "/etc/passwd"),
        ("dangling", "nope"),
        ("self_loop", ms),
        ("to_dir", "/"),
        ("long_chain_loop", "a"),
    ):

        def mk(d, t=t, nm=nm):
            os.symlink(t, d / ms)
            if nm == "long_chain_loop":
                os.symlink("b", d / "a")
                os.symlink("a", d / "b")

        f(f"link_{nm}", mk)
    f(
        "config_link_passwd",
        lambda d: (
            (d / "config.json").unlink(),
            os.symlink("/etc/passwd", d / "config.json"),
            (d / ms).write_bytes(st(weights())),
        ),
        note="content must not be echoed",
    )
    f(
        "config_link_dev_zero",
        lambda d: (
            (d / "config.json").unlink(),
            os.symlink("/dev/zero", d / "config.json"),
            (d / ms).write_bytes(st(weights())),
        ),
    )
    f(
        "config_is_dir",
        lambda d: ((d / "config.json").unlink(), (d / "config.json").mkdir(), (d / ms).write_bytes(st(weights()))),
    )
    f("dir_link_loop", lambda d: os.symlink(".", d / "loop"), note="recursive walkers spin")
    f("model_no_permission", lambda d: ((d / ms).write_bytes(st(weights())), os.chmod(d / ms, 0)), flags=["nonroot"])
    f(
        "config_no_permission",
        lambda d: ((d / ms).write_bytes(st(weights())), os.chmod(d / "config.json", 0)),
        flags=["nonroot"],
    )

    def noperm(d):
        (d / "in").mkdir()
        (d / "in" / ms).write_bytes(st(weights()))
        (d / "in/config.json").write_text(json.dumps(CFG))
        os.chmod(d / "in", 0)

    f("dir_no_permission", noperm, flags=["nonroot"], path="in", cfg=False)
    f(
        "read_only_checkpoint",
        lambda d: ((d / ms).write_bytes(st(weights())), os.chmod(d / ms, 0o444), os.chmod(d, 0o555)),
        "ok",
        note="nothing may be written next to the weights",
    )
    f(
        "two_candidates",
        lambda d: ((d / "a.safetensors").write_bytes(st(weights())), (d / "b.safetensors").write_bytes(st(weights(3)))),
        "any",
        note="no model.safetensors, no index, two files",
    )
    f(
        "adapter_only",
        lambda d: (d / "adapter_model.safetensors").write_bytes(
            st({"base_model.model.x.lora_A.weight": np.ones((4, 32), np.float32)})
        ),
    )
    f(
        "1e4_files",
        lambda d: [(d / f"junk{i}").write_bytes(b"") for i in range(10000)] and (d / ms).write_bytes(st(weights())),
        "ok",
    )
    if c.sparse:

        def sp(d):
            b = raw(json.dumps({Q0: {"dtype": "F32", "shape": [2**17, 2**17], "data_offsets": [0, 2**36]}}))
            with open(d / ms, "wb") as o:
                o.write(b)
                o.truncate(len(b) + 2**36)

        f("sparse_64gib", sp, note="64 GiB sparse q_proj of the wrong shape: reject before reading")

        def sh(d):
            with open(d / ms, "wb") as o:
                o.write(struct.pack("<Q", 100_000_001))
                o.truncate(8 + 100_000_001)

        f("sparse_header_over_cap", sh, note="the header fits the file but exceeds the 100 MB cap")


def numbers(c):
    K = "numeric"
    NF = r"(?i)nan|non-?finite|inf(inity)?\b"

    def m(slug, fn, exp="ok", want=None, note="", dt="F32", **k):
        c.ck(slug, K, exp, want, note, mod=fn, dt=dt, **k)

    def put(name, idx, val):
        def f(w):
            a = w[name].copy()
            a[idx] = val
            w[name] = a

        return f

    def full(v, key=""):
        return lambda w: w.update({k: np.full_like(a, v) for k, a in w.items() if key in k and a.ndim == 2})

    m("nan_one_q", put(Q0, (3, 5), np.nan), "any", NF)
    m("nan_last_k", put(K0, (-1, -1), np.nan), "any", NF)
    m("nan_all_q", full(np.nan, "q_proj"), "any", NF)
    m("inf_one_q", put(Q0, (0, 0), np.inf), "any", NF)
    m("neg_inf_one_k", put(K0, (0, 0), -np.inf), "any", NF)
    m(
        "inf_pair_cancels",
        lambda w: (put(Q0, (0, 0), np.inf)(w), put(Q0, (0, 1), -np.inf)(w)) and None,
        "any",
        NF,
        "Inf-Inf makes NaN in the Gram matrix",
    )
    m("nan_bf16", put(Q0, (3, 5), np.nan), "any", NF, dt="BF16")
    m("inf_f16", put(Q0, (3, 5), np.inf), "any", NF, dt="F16")
    m("nan_f64", put(Q0, (3, 5), np.nan), "any", NF, dt="F64")
    m(
        "nan_signalling",
        lambda w: w.update({Q0: T("F32", [32, 32], struct.pack("<I", 0x7F800001) + w[Q0].tobytes()[4:])}),
        "any",
        NF,
        "sNaN may trap or be lost by max()",
    )
    m(
        "nan_negative_payload",
        lambda w: w.update({Q0: T("F32", [32, 32], struct.pack("<I", 0xFFABCDEF) + w[Q0].tobytes()[4:])}),
        "any",
        NF,
    )
    m("nan_in_unused_embed", put("model.embed_tokens.weight", (0, 0), np.nan), "any")
    m("nan_in_norm", put("model.layers.0.input_layernorm.weight", (0,), np.nan), "any", NF)
    m("inf_in_norm", put("model.layers.1.input_layernorm.weight", (1,), np.inf), "any", NF)
    m(
        "nan_in_second_layer_only",
        put("model.layers.1.self_attn.q_proj.weight", (31, 31), np.nan),
        "any",
        NF + "|layers?.?1",
    )
    m("denormal_f32", full(1e-40))
    m("denormal_min_f32", full(1.4e-45))
    m("denormal_bf16", full(1e-40), dt="BF16")
    m("denormal_f16", full(6e-8), dt="F16")
    m("denormal_f64", full(5e-324), "any", dt="F64")
    m("zero_q0", lambda w: w.update({Q0: np.zeros((32, 32), np.float32)}), note="sigma = 0: no division by it")
    m("zero_all", full(0.0))
    m("minus_zero_all", full(-0.0))
    m("zero_norms", lambda w: w.update({k: v * 0 for k, v in w.items() if "norm" in k}))
    m("rank1_q", lambda w: w.update({Q0: np.outer(np.arange(32), np.ones(32)).astype(np.float32)}))
    m("rank1_all_ones", full(1.0))
    m("one_nonzero", lambda w: w.update({Q0: np.eye(32, dtype=np.float32) * (np.arange(32)[:, None] == 3)}))
    m(
        "equal_singular_values",
        lambda w: w.update({Q0: np.eye(32, dtype=np.float32), K0: np.eye(16, 32, dtype=np.float32)}),
        note="power iteration has no gap",
    )
    m(
        "start_vector_orthogonal",
        lambda w: w.update({Q0: np.outer(np.ones(32), np.r_[1, -1, np.zeros(30)]).astype(np.float32)}),
        note="an all-ones start vector is in the null space",
    )
    m(
        "graded_1e_pm30",
        lambda w: w.update({Q0: (np.eye(32) * np.logspace(-30, 30, 32)).astype(np.float32)}),
        note="condition number 1e60",
    )
    m("huge_1e38", full(1e38), note="squares overflow float32; fine in double or with scaling")
    m("huge_flt_max", full(np.finfo(np.float32).max))
    m("huge_bf16", full(3e38), dt="BF16")
    m("huge_f16_max", full(65504.0), dt="F16")
    m(
        "huge_f64_1e300",
        lambda w: {k: v.astype(np.float64) * 1e300 for k, v in w.items()},
        "any",
        note="Gram overflows even in double",
        dt="F64",
    )
    m("tiny_f64_1e_300", lambda w: {k: v.astype(np.float64) * 1e-300 for k, v in w.items()}, "any", dt="F64")
    m(
        "mixed_max_and_denormal",
        lambda w: w.update({Q0: np.where(np.arange(1024).reshape(32, 32) % 2, 3e38, 1e-44).astype(np.float32)}),
    )
    m("one_outlier_1e30", put(Q0, (7, 7), 1e30))
    m(
        "alternating_sign_cancel",
        lambda w: w.update({Q0: (np.where(np.indices((32, 32)).sum(0) % 2, 1, -1) * 1e30).astype(np.float32)}),
    )
    m(
        "tiny_1x1",
        lambda w: {k: (np.ones([1] * a.ndim, np.float32)) for k, a in w.items()},
        cfg=dict(
            hidden_size=1, num_attention_heads=1, num_key_value_heads=1, head_dim=1, vocab_size=1, intermediate_size=1
        ),
        note="smallest possible model",
    )
    K = "fp8"
    g = np.random.default_rng(5)

    def fp8(slug, dt, poke=None, scale=("weight_scale_inv", [1, 1], 1.0), exp="any", want=None, note="", sdt="F32"):
        def f(w):
            out = {}
            for k, a in w.items():
                if "proj" in k:
                    b = bytearray(
                        ((g.integers(0, 0x70, a.size) | (g.integers(0, 2, a.size) << 7)) & 0xF7)
                        .astype(np.uint8)
                        .tobytes()
                    )
                    if poke is not None and k == Q0:
                        for i, v in poke:
                            b[i] = v
                    out[k] = T(dt, a.shape, b)
                    if scale:
                        n, s, v = scale
                        out[k.replace("weight", n)] = (
                            T("F8_E8M0", s, bytes([v] * int(np.prod(s))))
                            if sdt == "F8_E8M0"
                            else enc(np.full(s, v, np.float32))
                        )
                else:
                    out[k] = enc(a, "BF16")
            return out

        c.ck(
            slug,
            K,
            exp,
            want,
            note,
            mod=f,
            cfg=dict(
                torch_dtype="bfloat16",
                quantization_config=dict(quant_method="fp8", fmt="e4m3", weight_block_size=[128, 128]),
            ),
        )

    fp8("e4m3_plain", "F8_E4M3")
    fp8("e5m2_plain", "F8_E5M2")
    fp8("e4m3_nan_7f", "F8_E4M3", [(5, 0x7F)], want=NF, note="0x7F is NaN in E4M3 (fn)")
    fp8("e4m3_nan_ff", "F8_E4M3", [(1023, 0xFF)], want=NF)
    fp8("e5m2_inf", "F8_E5M2", [(0, 0x7C)], want=NF)
    fp8("e5m2_neg_inf", "F8_E5M2", [(0, 0xFC)], want=NF)
    fp8("e5m2_nan_7d", "F8_E5M2", [(9, 0x7D)], want=NF)
    fp8("e4m3fnuz_nan_80", "F8_E4M3FNUZ", [(9, 0x80)], want=None, note="0x80 is NaN in fnuz, -0 elsewhere")
    fp8("no_scales", "F8_E4M3", scale=None)
    fp8("scale_nan", "F8_E4M3", scale=("weight_scale_inv", [1, 1], np.nan), want=NF)
    fp8("scale_inf", "F8_E4M3", scale=("weight_scale_inv", [1, 1], np.inf), want=NF)
    fp8("scale_zero", "F8_E4M3", scale=("weight_scale_inv", [1, 1], 0.0))
    fp8("scale_negative", "F8_E4M3", scale=("weight_scale_inv", [1, 1], -1.0))
    fp8("scale_1e38", "F8_E4M3", scale=("weight_scale_inv", [1, 1], 3e38))
    fp8("scale_wrong_shape", "F8_E4M3", scale=("weight_scale_inv", [3, 7], 1.0))
    fp8("scale_empty", "F8_E4M3", scale=("weight_scale_inv", [0, 0], 1.0))
    fp8("scale_scalar", "F8_E4M3", scale=("weight_scale", [], 0.01))
    fp8("scale_e8m0_nan", "F8_E4M3", scale=("weight_scale", [32, 1], 0xFF), sdt="F8_E8M0", want=NF)
    fp8("scale_e8m0_max", "F8_E4M3", scale=("weight_scale", [32, 1], 0xFE), sdt="F8_E8M0")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("target")
    ap.add_argument("--force", action="store_true")
    ap.add_argument("--with-sparse", action="store_true")
    ap.add_argument("--only")
    a = ap.parse_args()
    root = Path(a.target).absolute()
    if root.exists() and any(root.iterdir()):
        if not a.force or not (root / "manifest.jsonl").is_file():
            sys.exit(f"{root}: not empty (use --force on an older corpus)")
        for p, ds, _ in os.walk(root):  # give back permissions before removal
            for d in ds:
                q = Path(p) / d
                if not q.is_symlink():
                    os.chmod(q, 0o755)
        for q in root.iterdir():
            shutil.rmtree(q) if q.is_dir() and not q.is_symlink() else q.unlink()
    root.mkdir(parents=True, exist_ok=True)
    c = Corpus(root, a.only)
    c.sparse = a.with_sparse
    for part in (valid, header, tensorinfo, names, index, config, pickles, gguf, filesystem, numbers):
        part(c)
    with open(root / "manifest.jsonl", "w") as f:
        for r in c.rows:
            f.write(json.dumps(r) + "\n")
    by = {}
    for r in c.rows:
        by.setdefault(r["category"], []).append(r["expected"])
    for k, v in by.items():
        print(f"{k:16s} {len(v):4d}  error {v.count('error'):4d}  ok {v.count('ok'):4d}  any {v.count('any'):4d}")
    print(f"{len(c.rows)} cases in {root}")


if __name__ == "__main__":
    main()
