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
XSS = "<script>ullage_xss()</script>"
IMG = "<img src=x onerror=ullage_xss()>"
HIDDEN, HEADS, KV_HEADS, HEAD_DIM, LAYERS, VOCABULARY, FEED_FORWARD = 32, 4, 2, 8, 2, 64, 64
CONFIG = dict(
    architectures=["LlamaForCausalLM"],
    model_type="llama",
    hidden_size=HIDDEN,
    intermediate_size=FEED_FORWARD,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    num_key_value_heads=KV_HEADS,
    head_dim=HEAD_DIM,
    vocab_size=VOCABULARY,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    hidden_act="silu",
    tie_word_embeddings=False,
    torch_dtype="float32",
)
Q0 = "model.layers.0.self_attn.q_proj.weight"
K0 = "model.layers.0.self_attn.k_proj.weight"
BYTES = dict(
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
    generator = np.random.default_rng(seed)

    def normal(*s):
        return (generator.standard_normal(s) / np.sqrt(s[-1])).astype(np.float32)

    tensors = {"model.embed_tokens.weight": normal(VOCABULARY, HIDDEN)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        tensors[layer + "input_layernorm.weight"] = np.ones(HIDDEN, np.float32)
        tensors[layer + "self_attn.q_proj.weight"] = normal(HEADS * HEAD_DIM, HIDDEN)
        tensors[layer + "self_attn.k_proj.weight"] = normal(KV_HEADS * HEAD_DIM, HIDDEN)
        tensors[layer + "self_attn.v_proj.weight"] = normal(KV_HEADS * HEAD_DIM, HIDDEN)
        tensors[layer + "self_attn.o_proj.weight"] = normal(HIDDEN, HEADS * HEAD_DIM)
        tensors[layer + "post_attention_layernorm.weight"] = np.ones(HIDDEN, np.float32)
        tensors[layer + "mlp.gate_proj.weight"] = normal(FEED_FORWARD, HIDDEN)
        tensors[layer + "mlp.up_proj.weight"] = normal(FEED_FORWARD, HIDDEN)
        tensors[layer + "mlp.down_proj.weight"] = normal(HIDDEN, FEED_FORWARD)
    tensors["model.norm.weight"] = np.ones(HIDDEN, np.float32)
    tensors["lm_head.weight"] = normal(VOCABULARY, HIDDEN)
    return tensors


def bf16(array):
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    nan = np.isnan(array)
    return np.where(nan, np.uint16(0x7FC0), rounded).astype("<u2")


class Tensor:
    """One stored tensor: the name of its dtype, its shape, its bytes."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, list(shape), bytes(data)


def encode(array, dtype="F32"):
    if isinstance(array, Tensor):
        return array
    array = np.asarray(array)
    with np.errstate(all="ignore"):
        if dtype == "BF16":
            return Tensor("BF16", array.shape, bf16(array.astype(np.float32)).tobytes())
        stored = dict(F32="<f4", F64="<f8", F16="<f2", I8="i1", U8="u1", I16="<i2", I32="<i4", I64="<i8")[dtype]
        return Tensor(dtype, array.shape, array.astype(stored).tobytes())


def safetensors(tensors, dtype="F32", metadata=None, pad=8):
    """The bytes of a valid file that holds these tensors, arrays or Tensor, in this order."""
    header, parts, offset = {}, [], 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, array in tensors.items():
        tensor = encode(array, dtype)
        header[name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [offset, offset + len(tensor.data)],
        }
        offset += len(tensor.data)
        parts.append(tensor.data)
    text = json.dumps(header, separators=(",", ":")).encode()
    if pad:
        text += b" " * (-len(text) % pad)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def container(header, data=b"", length=None):
    """A file of this header, which need not be valid, and of the length that it claims."""
    if isinstance(header, str):
        header = header.encode()
    return struct.pack("<Q", (len(header) if length is None else length) & (2**64 - 1)) + header + data


def split(file):
    """The header's text and the data of a valid file."""
    length = struct.unpack("<Q", file[:8])[0]
    return file[8 : 8 + length], file[8 + length :]


def with_header(change, tensors=None, dtype="F32"):
    """A valid file whose header is changed by `change`, which may return another; the data stay."""
    text, data = split(safetensors(tensors or weights(), dtype))
    header = json.loads(text)
    changed = change(header)
    return container(json.dumps(changed if changed is not None else header), data)


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def write_shards(folder, names=SHARDS, edit=None, metadata=True):
    """The weights in two files with their index, which `edit` may change or replace."""
    tensors = list(weights().items())
    half = len(tensors) // 2
    parts = [dict(tensors[:half]), dict(tensors[half:])]
    for name, part in zip(names, parts, strict=True):
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(safetensors(part))
    listing = {
        "metadata": {"total_size": sum(array.nbytes for _, array in tensors)},
        "weight_map": {key: name for name, part in zip(names, parts, strict=True) for key in part},
    }
    if not metadata:
        del listing["metadata"]
    edited = edit(listing) if edit else None
    listing = listing if edited is None else edited
    text = listing if isinstance(listing, bytes) else json.dumps(listing).encode()
    (folder / "model.safetensors.index.json").write_bytes(text)


# ---------------------------------------------------------------- corpus bookkeeping
class Corpus:
    def __init__(self, root, only=None, sparse=False):
        self.root, self.rows, self.count, self.only = root, [], 0, re.compile(only) if only else None
        self.sparse = sparse
        self.marker = [str(root / f"MARKER_{k}") for k in ("pickle", "zip", "global", "sfx", "tar")]

    def add(self, slug, category, expected, want=None, note="", flags=(), path=None):
        self.count += 1
        folder = self.root / f"{self.count:03d}_{slug}"
        skip = self.only and not self.only.search(f"{category}/{slug}")
        if not skip:
            folder.mkdir()
            self.rows.append(
                dict(
                    path=str((folder / path).relative_to(self.root)) if path else folder.name,
                    category=category,
                    expected=expected,
                    want=want,
                    flags=list(flags),
                    note=note,
                )
            )
        return None if skip else folder

    def checkpoint(
        self,
        slug,
        category,
        expected,
        want=None,
        note="",
        flags=(),
        config=None,
        config_text=None,
        tensors=None,
        change=None,
        dtype="F32",
        blob=None,
        file_name="model.safetensors",
        metadata=None,
        pad=8,
        path=None,
        extra=None,
    ):
        """A folder with config.json and one file of weights, each as it should be where nothing else is given."""
        folder = self.add(slug, category, expected, want, note, flags, path)
        if folder is None:
            return None
        if config_text is not None:
            (folder / "config.json").write_bytes(
                config_text if isinstance(config_text, bytes) else config_text.encode()
            )
        elif config is not False:
            settings = dict(CONFIG)
            for key, value in (config or {}).items():
                settings.pop(key, None) if value is None else settings.__setitem__(key, value)
            (folder / "config.json").write_text(json.dumps(settings, indent=1))
        if blob is None:
            tensors = tensors or weights()
            if change:
                tensors = change(tensors) or tensors
            blob = safetensors(tensors, dtype, metadata, pad)
        if blob is not False:
            (folder / file_name).write_bytes(blob)
        if extra:
            extra(folder)
        return folder


# ---------------------------------------------------------------- cases
def valid(corpus):
    category = "valid"
    corpus.checkpoint("f32", category, "ok")
    corpus.checkpoint("bf16", category, "ok", dtype="BF16", config=dict(torch_dtype="bfloat16"))
    corpus.checkpoint("f16", category, "ok", dtype="F16", config=dict(torch_dtype="float16"))
    corpus.checkpoint("f64", category, "any", dtype="F64", note="legal dtype, unusual in checkpoints")
    corpus.checkpoint(
        "header_unpadded",
        category,
        "ok",
        pad=0,
        note="header length not a multiple of 8: readers must do unaligned loads",
    )
    corpus.checkpoint(
        "header_pad_4mb", category, "ok", pad=1 << 22, note="trailing spaces up to the 100 MB cap are legal"
    )
    corpus.checkpoint("name_order_reversed", category, "ok", tensors=dict(reversed(list(weights().items()))))
    corpus.checkpoint(
        "header_order_not_offset_order", category, "ok", blob=with_header(lambda h: dict(reversed(list(h.items()))))
    )
    corpus.checkpoint(
        "misaligned_f32_data",
        category,
        "ok",
        tensors={"a.pad": Tensor("U8", [1], b"x"), **weights()},
        pad=8,
        note="float data at odd file offsets is accepted by the reference reader (UB trap in C++)",
    )
    corpus.checkpoint(
        "extra_scalar_rank0",
        category,
        "ok",
        change=lambda w: w.update({"extra.scalar": Tensor("F32", [], struct.pack("<f", 1))}),
    )
    corpus.checkpoint(
        "extra_zero_size",
        category,
        "ok",
        change=lambda w: w.update({"extra.z": Tensor("F32", [0], b""), "extra.z2": Tensor("I64", [3, 0, 5], b"")}),
    )
    corpus.checkpoint(
        "extra_all_dtypes",
        category,
        "ok",
        note="every fixed-width dtype of the format, on tensors nobody needs",
        change=lambda w: w.update({f"extra.{k}": Tensor(k, [8], bytes(8 * v)) for k, v in BYTES.items()}),
    )
    corpus.checkpoint(
        "extra_subbyte_dtypes",
        category,
        "ok",
        note="F4 and F6 have bit sizes 4 and 6; 8 elements fill whole bytes",
        change=lambda w: w.update(
            {
                "extra.f4": Tensor("F4", [8], bytes(4)),
                "extra.f6a": Tensor("F6_E2M3", [8], bytes(6)),
                "extra.f6b": Tensor("F6_E3M2", [8], bytes(6)),
            }
        ),
    )
    corpus.checkpoint(
        "zero_huge_dim",
        category,
        "ok",
        note="[0, 2^64-1] is a legal empty tensor; must not be allocated or iterated",
        change=lambda w: w.update({"extra.z": Tensor("U8", [0, 2**64 - 1], b"")}),
    )
    corpus.checkpoint(
        "unicode_names",
        category,
        "ok",
        change=lambda w: w.update(
            {
                "\u044d\u043a\u0441\u0442\u0440\u0430.\u91cd\u307f.\U0001f9ea": Tensor("U8", [1], b"x"),
                "\u00e9\u0301\u202e": Tensor("U8", [1], b"x"),
            }
        ),
    )
    corpus.checkpoint("metadata_1mb", category, "ok", metadata={"format": "pt", "blob": "x" * (1 << 20)})
    corpus.checkpoint("metadata_20k_keys", category, "ok", metadata={f"k{i}": "v" for i in range(20000)})
    corpus.checkpoint(
        "many_tensors_1e5",
        category,
        "ok",
        flags=["slow"],
        note="10^5 one-byte tensors: quadratic name or overlap checks time out",
        change=lambda w: w.update({f"t.{i}": Tensor("U8", [1], b"\0") for i in range(100000)}),
    )
    corpus.checkpoint(
        "no_head_dim_key", category, "ok", config=dict(head_dim=None), note="derived: hidden_size / heads"
    )
    corpus.checkpoint(
        "no_kv_heads_key",
        category,
        "ok",
        config=dict(num_key_value_heads=None),
        note="means MHA",
        change=lambda w: w.update(
            {
                k: weights(9)[k.replace("k_proj", "q_proj").replace("v_proj", "q_proj")]
                for k in w
                if "k_proj" in k or "v_proj" in k
            }
        ),
    )
    corpus.checkpoint(
        "head_dim_decoupled",
        category,
        "ok",
        config=dict(head_dim=16),
        note="head_dim*heads != hidden_size is legal when shapes agree",
        change=lambda w: w.update(
            {
                k: np.resize(v, (v.shape[0] * 2, HIDDEN) if "o_proj" not in k else (HIDDEN, v.shape[1] * 2))
                for k, v in list(w.items())
                if "self_attn" in k
            }
        ),
    )
    corpus.checkpoint(
        "tied_no_lm_head",
        category,
        "ok",
        config=dict(tie_word_embeddings=True),
        change=lambda w: {k: v for k, v in w.items() if k != "lm_head.weight"},
    )

    corpus.checkpoint("sharded", category, "ok", blob=False, extra=write_shards)
    corpus.checkpoint(
        "sharded_no_metadata", category, "ok", blob=False, extra=lambda d: write_shards(d, metadata=False)
    )
    corpus.checkpoint(
        "sharded_subdir",
        category,
        "any",
        blob=False,
        note="shard in a sub-directory stays inside the checkpoint",
        extra=lambda d: write_shards(d, ("a/m1.safetensors", "b/m2.safetensors")),
    )

    def cache(d):
        (d / "blobs").mkdir()
        (d / "snapshots/rev").mkdir(parents=True)
        (d / "blobs/w").write_bytes(safetensors(weights()))
        (d / "blobs/c").write_text(json.dumps(CONFIG))
        os.symlink("../../blobs/w", d / "snapshots/rev/model.safetensors")
        os.symlink("../../blobs/c", d / "snapshots/rev/config.json")

    corpus.checkpoint(
        "hub_cache_symlinks",
        category,
        "ok",
        config=False,
        blob=False,
        path="snapshots/rev",
        extra=cache,
        note="the hub cache stores real files as links to ../../blobs: links to regular files must work",
    )
    corpus.checkpoint(
        "single_file_path",
        category,
        "any",
        path="model.safetensors",
        note="a file instead of a directory on the command line",
    )


def header(corpus):
    category = "header"
    text, data = split(safetensors(weights()))

    def case(slug, blob, note="", expected="error", category=category):
        corpus.checkpoint(slug, category, expected, blob=blob, note=note)

    case("empty_file", b"")
    for i in (1, 7):
        case(f"only_{i}_bytes", b"\x08" * i)
    case("len_zero", container(b"", data), "N=0: no JSON at all")
    case("len_only", struct.pack("<Q", len(text)))
    case("truncated_mid_json", container(text[: len(text) // 2], b"", len(text)))
    case("len_minus_1", container(text.rstrip(), data, len(text.rstrip()) - 1))
    case("len_plus_1", container(text.rstrip(), data, len(text.rstrip()) + 1), "swallows a data byte")
    for name, n in (
        ("2p63", 2**63),
        ("2p64m1", 2**64 - 1),
        ("2p64m8", 2**64 - 8),
        ("2p64m9", 2**64 - 9),
        ("2p32", 2**32),
        ("2p31", 2**31),
        ("cap_plus_1", 100_000_001),
        ("file_size", 8 + len(text) + len(data)),
    ):
        case(f"len_{name}", container(text, data, n), "2^64-8 + 8 wraps to 0" if name == "2p64m8" else "")
    case(
        "len_trunc32",
        container(text, data, 2**32 + len(text)),
        "low 32 bits are the true length: catches a size_t->u32 cut",
    )
    case("len_negative_as_signed", container(text, data, 2**64 - len(text)))
    case("big_endian_len", struct.pack(">Q", len(text)) + text + data)
    case("not_utf8_ff", container(b'{"\xff\xfe":' + text[1:20], data))
    case("not_utf8_in_name", container(text.replace(b"q_proj", b"q\xc3\x28oj"), data))
    case("utf8_overlong", container(text.replace(b"q_proj", b"q\xc0\xafroj"), data))
    case("utf8_raw_surrogate", container(text.replace(b"q_proj", b"q\xed\xa0\x80oj"), data))
    case("utf16_json", container(text.decode().encode("utf-16-le"), data))
    case("bom_utf8", container(b"\xef\xbb\xbf" + text, data), "reference reader refuses a BOM")
    case("nul_padding", container(text.rstrip() + b"\0" * 8, data), "padding must be blanks")
    case(
        "leading_blank",
        container(b" \n" + text, data),
        "text says '{' must come first, the reference code accepts blanks",
        expected="any",
    )
    case("trailing_json", container(text.rstrip() + b" {}", data))
    for name, json_text in (
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
        case(
            f"json_{name}",
            container(json_text),
            "empty object is a legal file with no tensors, so nothing can be scanned" if name == "empty_obj" else "",
        )
    case("json_trailing_comma", container(text.rstrip()[:-1] + b",}", data))
    case("json_raw_control_char", container(text.replace(b"q_proj", b"q\x01proj", 1), data))
    case(
        "json_raw_esc",
        container(text.replace(b"q_proj", b"q\x1b[31m", 1), data),
        "raw ESC inside a JSON string is invalid JSON; must not be echoed",
    )
    case("json_lone_surrogate_escape", container(text.replace(b"q_proj", b"q\\ud800", 1), data))
    case("json_bad_escape", container(text.replace(b"q_proj", b"q\\xproj", 1), data))
    depth = 100000
    case(
        "bomb_depth_array",
        container(b'{"a":' + b"[" * depth + b"]" * depth + b"}"),
        "recursion bomb",
        category="json_bomb",
    )
    case("bomb_depth_object", container(b'{"a":' * depth + b"1" + b"}" * depth), "recursion bomb", category="json_bomb")
    case("bomb_depth_unclosed", container(b"[" * 2_000_000), "recursion bomb without closers", category="json_bomb")
    case(
        "bomb_depth_in_metadata",
        container(b'{"__metadata__":' + b'{"a":' * depth + b'"b"' + b"}" * depth + b"}"),
        category="json_bomb",
    )
    case(
        "bomb_depth_in_skipped_field",
        container(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":' + b"[" * depth + b"]" * depth + b"}}"),
        category="json_bomb",
    )
    case(
        "bomb_number_1mb",
        container(b'{"a":{"dtype":"U8","shape":[' + b"9" * (1 << 20) + b'],"data_offsets":[0,0]}}'),
        category="json_bomb",
    )
    case(
        "bomb_number_exponent",
        container(b'{"a":{"dtype":"U8","shape":[1e999999999],"data_offsets":[0,0]}}'),
        category="json_bomb",
    )
    case(
        "bomb_shape_1e6_dims",
        container(b'{"a":{"dtype":"U8","shape":[' + b"2," * 999999 + b'2],"data_offsets":[0,1]}}', b"x"),
        category="json_bomb",
    )
    case(
        "rank_1e5_ones",
        with_header(
            lambda h: (
                h.update({"z": {"dtype": "U8", "shape": [1] * 100000, "data_offsets": [0, 0]}})
                or h.__setitem__("z", {"dtype": "U8", "shape": [1] * 99999 + [0], "data_offsets": [0, 0]})
            )
        ),
        "rank 10^5; the reference sets no rank limit",
        expected="any",
        category="json_bomb",
    )
    # duplicates
    one_byte = b'"z":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
    end = len(data)
    second = "duplicate"
    case(
        "same_name_same_range",
        container(
            text.rstrip()[:-1] + b"," + one_byte % (end, end + 1) + b"," + one_byte % (end, end + 1) + b"}", data + b"x"
        ),
        "the text forbids duplicate keys; the reference code keeps the last one and accepts",
        category=second,
    )
    case(
        "same_name_other_range",
        container(
            text.rstrip()[:-1] + b"," + one_byte % (end, end + 1) + b"," + one_byte % (end + 1, end + 2) + b"}",
            data + b"xy",
        ),
        category=second,
    )
    case(
        "q_proj_twice",
        container(
            text.rstrip()[:-1]
            + b',"'
            + Q0.encode()
            + b'":{"dtype":"F32","shape":[0],"data_offsets":[%d,%d]}}' % (end, end),
            data,
        ),
        "last-wins would hide the real tensor",
        category=second,
    )
    empty = b'"%s":{"dtype":"U8","shape":[0],"data_offsets":[%d,%d]}'
    case(
        "same_name_by_escape",
        container(
            text.rstrip()[:-1] + b"," + empty % (b"z", end, end) + b"," + empty % (b"\\u007a", end, end) + b"}", data
        ),
        "equal after unescaping",
        category=second,
    )
    case(
        "field_dtype_twice",
        container(text.replace(b'"dtype":"F32"', b'"dtype":"F32","dtype":"F32"', 1), data),
        category=second,
    )
    case(
        "metadata_twice",
        container(b'{"__metadata__":{"a":"1"},"__metadata__":{"a":"2"},' + text[1:], data),
        category=second,
    )
    third = "metadata"
    case(
        "value_number",
        container(b'{"__metadata__":{"a":1},' + text[1:], data),
        "values must be strings",
        category=third,
    )
    case("value_nested", container(b'{"__metadata__":{"a":{"b":"c"}},' + text[1:], data), category=third)
    case("list", container(b'{"__metadata__":[],' + text[1:], data), category=third)
    case(
        "null",
        container(b'{"__metadata__":null,' + text[1:], data),
        "reference accepts null",
        expected="any",
        category=third,
    )
    case(
        "is_tensor",
        container(b'{"__metadata__":{"dtype":"F32","shape":"x","data_offsets":"y"},' + text[1:], data),
        "string map that looks like a tensor: legal",
        expected="ok",
        category=third,
    )


def tensorinfo(corpus):
    category = "shape"
    nb = HIDDEN * HIDDEN * 4

    def with_field(slug, field, val, category=category, expected="error", note="", want=None, **kw):
        corpus.checkpoint(
            slug,
            category,
            expected,
            want=want,
            note=note,
            blob=with_header(lambda h: h[Q0].__setitem__(field, val)),
            **kw,
        )

    def with_shape_text(slug, txt, category=category, expected="error", note=""):
        text, data = split(safetensors(weights()))
        old = b'"%s":{"dtype":"F32","shape":[32,32]' % Q0.encode()
        assert old in text
        corpus.checkpoint(
            slug,
            category,
            expected,
            note=note,
            blob=container(text.replace(old, old.replace(b"[32,32]", txt.encode())), data),
        )

    for name, s in (
        ("negative", [-32, -32]),
        ("negative_one", [-1, HIDDEN]),
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
        with_field(f"shape_{name}", "shape", s)
    for name, s in (
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
        with_field(
            f"shape_{name}",
            "shape",
            s,
            category="overflow",
            note="product is equal to the true size modulo 2^64" if "wraps" in name or "wrap_to" in name else "",
        )
    with_shape_text("shape_exponent_number", "[3.2e1,32]")
    with_shape_text("shape_minus_zero", "[-0,32]")
    with_shape_text("shape_leading_zero", "[032,32]")
    with_shape_text("shape_hex", "[0x20,32]")
    with_shape_text("shape_plus_sign", "[+32,32]")
    category = "offsets"
    off = json.loads(split(safetensors(weights()))[0])[Q0]["data_offsets"]
    a, b = off
    for name, o in (
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
        if name == "same_as_k":
            corpus.checkpoint(
                "offsets_two_tensors_same_range",
                category,
                "error",
                blob=with_header(
                    lambda h: h["model.layers.1.self_attn.q_proj.weight"].__setitem__("data_offsets", off)
                ),
            )
        else:
            with_field(f"offsets_{name}", "data_offsets", o, category=category)
    text, data = split(safetensors(weights()))

    def shift(h):
        for v in h.values():
            v["data_offsets"] = [x + 8 for x in v["data_offsets"]]

    corpus.checkpoint("hole_at_start", category, "error", blob=with_header(shift) + b"\0" * 8)
    corpus.checkpoint(
        "trailing_byte",
        category,
        "error",
        blob=safetensors(weights()) + b"\0",
        note="the data section must be covered exactly: stops polyglots",
    )
    corpus.checkpoint("missing_last_byte", category, "error", blob=safetensors(weights())[:-1])
    corpus.checkpoint("no_data_at_all", category, "error", blob=container(text))
    z = zipped([("x", b"y")])
    corpus.checkpoint("polyglot_zip_tail", category, "error", blob=safetensors(weights()) + z)
    corpus.checkpoint(
        "overlap_amplification",
        category,
        "error",
        note="2000 tensors on one 4 KiB range: loads 500x its size if overlaps are allowed",
        blob=container(
            json.dumps({f"w{i}": {"dtype": "F32", "shape": [32, 32], "data_offsets": [0, nb]} for i in range(2000)}),
            bytes(nb),
        ),
    )
    big = 2**61 - 1
    corpus.checkpoint(
        "sum_of_sizes_2p64",
        "overflow",
        "error",
        note="each tensor is representable, the sum is not",
        blob=container(
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
    category = "dtype"
    for name, d in (
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
        with_field(f"dtype_{name}", "dtype", d, category=category)
    for name, d in (("i32", "I32"), ("u32", "U32")):
        with_field(
            f"q_proj_is_{name}", "dtype", d, category=category, note="integer data where a real weight is needed"
        )
    corpus.checkpoint(
        "q_proj_is_bool", category, "error", change=lambda w: w.update({Q0: Tensor("BOOL", [32, 32], bytes(1024))})
    )
    corpus.checkpoint(
        "q_proj_is_complex", category, "error", change=lambda w: w.update({Q0: Tensor("C64", [32, 32], bytes(8192))})
    )
    corpus.checkpoint(
        "f4_odd_count",
        category,
        "error",
        note="3*4 bits is not a whole number of bytes",
        change=lambda w: w.update({"x": Tensor("F4", [3], bytes(2))}),
    )
    corpus.checkpoint(
        "f6_misfit", category, "error", change=lambda w: w.update({"x": Tensor("F6_E2M3", [2], bytes(2))})
    )
    for f in ("dtype", "shape", "data_offsets"):
        corpus.checkpoint(f"missing_{f}", "fields", "error", blob=with_header(lambda h, f=f: h[Q0].pop(f) and None))
    corpus.checkpoint(
        "unknown_field",
        "fields",
        "any",
        note="reference ignores unknown fields",
        blob=with_header(lambda h: h[Q0].__setitem__("strides", [1, 32])),
    )
    corpus.checkpoint(
        "entry_is_list",
        "fields",
        "error",
        blob=with_header(lambda h: h.__setitem__(Q0, ["F32", [32, 32], off])),
        note="",
    )
    corpus.checkpoint("entry_is_null", "fields", "error", blob=with_header(lambda h: h.__setitem__(Q0, None)))


def names(corpus):
    category = "names"
    for name, s in (
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
        ("html_attr", '" onmouseover="ullage_xss()" \''),
        ("json_break", '"}],"injected":true,"x":[{"'),
        ("markdown", "[x](javascript:ullage_xss()) | a | b |"),
        ("csv_formula", '=HYPERLINK("http://x")'),
        ("printf", "%s%n%1000000d{}{0:1000000}"),
        ("path", "../../../../tmp/ullage_pwn"),
        ("rtl_override", "gpj.\u202ethgiew"),
        ("shell", "$(touch ullage_pwn); `id`"),
        ("empty", ""),
        ("dunder", "__metadata__x"),
    ):
        # once as a harmless extra tensor, and once as the offender that an error message would quote
        corpus.checkpoint(
            f"ok_{name}",
            category,
            "any" if name in ("nul", "empty") else "ok",
            change=lambda w, s=s: w.update({s: Tensor("U8", [1], b"x")}),
        )
        if name in (
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
            corpus.checkpoint(
                f"err_{name}",
                category,
                "error",
                blob=with_header(
                    lambda h, s=s: h.__setitem__(s, {"dtype": "F32", "shape": [3], "data_offsets": [0, 1]})
                ),
                note="name is quoted by the error message",
            )
    corpus.checkpoint(
        "layer_like_script",
        category,
        "any",
        note="an attention tensor with an extra, injected layer name",
        change=lambda w: w.update({f"model.layers.{XSS}.self_attn.q_proj.weight": w[Q0]}),
    )
    corpus.checkpoint(
        "layer_index_huge",
        category,
        "any",
        change=lambda w: w.update({"model.layers.99999999999999999999.self_attn.q_proj.weight": w[Q0]}),
        note="stoi/stoul on the layer number throws or wraps",
    )
    corpus.checkpoint(
        "layer_index_2p31",
        category,
        "any",
        change=lambda w: w.update({"model.layers.2147483648.self_attn.q_proj.weight": w[Q0]}),
        note="vector.resize(layer+1) allocates",
    )
    corpus.checkpoint(
        "layer_index_negative",
        category,
        "any",
        change=lambda w: w.update({"model.layers.-1.self_attn.q_proj.weight": w[Q0]}),
    )
    corpus.checkpoint(
        "name_1mb",
        category,
        "any",
        change=lambda w: w.update({"n" * (1 << 20): Tensor("U8", [1], b"x")}),
        note="must not be echoed whole",
    )
    corpus.checkpoint(
        "name_1mb_error",
        category,
        "error",
        blob=with_header(
            lambda h: h.__setitem__("n" * (1 << 20), {"dtype": "F32", "shape": [3], "data_offsets": [0, 1]})
        ),
        note="message must be shortened",
    )
    corpus.checkpoint(
        "names_10k_each_10kb",
        category,
        "any",
        flags=["slow"],
        change=lambda w: w.update({f"{i:05d}" + "n" * 2000: Tensor("U8", [1], b"x") for i in range(10000)}),
        note="20 MB of names",
    )
    corpus.checkpoint(
        "metadata_injection", category, "ok", metadata={"format": "pt", XSS: IMG, "esc": ESC + "[31m", "title": XSS}
    )
    corpus.checkpoint(
        "config_injection",
        category,
        "any",
        config=dict(
            _name_or_path=XSS + ESC + "[31m",
            model_type="llama",
            architectures=["LlamaForCausalLM"],
            transformers_version=IMG,
        ),
    )
    corpus.checkpoint(
        "config_arch_injection",
        category,
        "any",
        config=dict(architectures=[XSS + ESC + "[31m" + IMG], model_type=XSS + ESC + "[2J"),
    )
    d = corpus.add(
        "dirname", category, "ok", path=f"a {XSS[1:7]}&{ESC}[31m 'q\" {{}}", note="the path itself holds ESC and quotes"
    )
    if d is not None:
        p = corpus.root / corpus.rows[-1]["path"]
        p.mkdir(parents=True)
        (p / "config.json").write_text(json.dumps(CONFIG))
        (p / "model.safetensors").write_bytes(safetensors(weights()))


def index(corpus):
    category = "index"
    S1, S2 = SHARDS

    def case(slug, edit, expected="error", note="", names=(S1, S2), want=None, category=category, post=None, flags=()):
        def ex(d):
            write_shards(d, names, edit)
            if post:
                post(d)

        corpus.checkpoint(slug, category, expected, want, note, flags, blob=False, extra=ex)

    def setall(v):
        def f(ix):
            for k in list(ix["weight_map"]):
                if ix["weight_map"][k] == S2:
                    ix["weight_map"][k] = v

        return f

    escape = "path_escape"
    for name, v in (
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
        ("pipe_cmd", "|touch ullage_pwn"),
        ("percent", "%2e%2e/%2e%2e/etc/passwd"),
        ("long", "a/" * 5000 + "x"),
        ("esc", ESC + "[31m" + XSS),
    ):
        case(f"index_{name}", setall(v), category=escape)
    case(
        "index_abs_valid",
        lambda ix: (
            [ix["weight_map"].__setitem__(k, str(corpus.root / "001_f32/model.safetensors")) for k in ix["weight_map"]]
            and None
        ),
        category=escape,
        note="absolute path to a perfectly valid file is still outside",
    )
    case(
        "missing_shard",
        None,
        names=(S1, S2),
        post=lambda d: (d / S2).unlink(),
        want=r"(?i)model-00002|missing|not found|no such",
    )
    case("shard_is_config", setall("config.json"))
    case("shard_is_index_itself", setall("model.safetensors.index.json"))
    case("shard_is_dot", setall("."))
    case("shard_is_dir", setall("sub"), post=lambda d: (d / "sub").mkdir())
    case("shard_empty_string", setall(""))
    case("shard_number", setall(2))
    case("shard_null", setall(None))
    case("shard_list", setall([S2]))
    case("shard_object", setall({"f": S2}))
    case("shard_truncated", None, post=lambda d: (d / S2).write_bytes((d / S2).read_bytes()[:-100]))
    case("shard_empty_file", None, post=lambda d: (d / S2).write_bytes(b""))
    case(
        "tensor_missing_from_shard",
        lambda ix: ix["weight_map"].__setitem__("model.layers.1.self_attn.k_norm.weight", S2),
        want=r"(?i)k_norm|missing|not in|not found",
    )
    case(
        "needed_tensor_in_wrong_shard",
        lambda ix: ix["weight_map"].__setitem__(Q0, S2),
        note="index sends q_proj to the shard that lacks it",
    )
    case(
        "needed_tensor_not_in_index",
        lambda ix: ix["weight_map"].pop(Q0) and None,
        "any",
        note="present on disk, absent from the index",
    )
    case(
        "same_tensor_in_both_shards",
        None,
        "any",
        post=lambda d: (d / S2).write_bytes(
            safetensors({**{k: v for k, v in list(weights().items())[len(weights()) // 2 :]}, Q0: weights(99)[Q0]})
        ),
        note="two different copies of q_proj",
    )
    case(
        "weight_map_dup_key",
        lambda ix: json.dumps(ix).replace('"weight_map": {', f'"weight_map": {{"{Q0}": "{S2}",').encode(),
        note="key twice, two shards",
    )
    case(
        "shard_listed_twice_alias",
        lambda ix: [ix["weight_map"].__setitem__(k, "./" + S1) for k in list(ix["weight_map"])[:2]] and None,
        "any",
        note="./x and x are the same shard: must not be read as two",
    )
    case("no_weight_map", lambda ix: ix.pop("weight_map") and None)
    case("weight_map_list", lambda ix: ix.__setitem__("weight_map", []))
    case("weight_map_empty", lambda ix: ix.__setitem__("weight_map", {}))
    case("weight_map_null", lambda ix: ix.__setitem__("weight_map", None))
    case("top_array", lambda ix: b"[]")
    case("empty_json", lambda ix: b"")
    case("truncated", lambda ix: json.dumps(ix).encode()[:-20])
    case("bom", lambda ix: b"\xef\xbb\xbf" + json.dumps(ix).encode(), "any")
    case("not_utf8", lambda ix: json.dumps(ix).encode().replace(b"q_proj", b"q\xffproj"))
    case(
        "depth_bomb",
        lambda ix: b'{"weight_map":' + b'{"a":' * 100000 + b"1" + b"}" * 100000 + b"}",
        category="json_bomb",
    )
    case("total_size_wrong", lambda ix: ix["metadata"].__setitem__("total_size", 1), "any")
    case("total_size_negative", lambda ix: ix["metadata"].__setitem__("total_size", -1), "any")
    case(
        "total_size_1e400",
        lambda ix: json.dumps(ix).replace('"total_size": ', '"total_size": 1' + "0" * 400).encode(),
        "any",
    )
    case(
        "1e5_missing_shards",
        lambda ix: {"weight_map": {f"t{k}": f"s{k}.safetensors" for k in range(100000)}},
        flags=["slow"],
    )
    case(
        "index_and_single_file",
        None,
        "any",
        post=lambda d: (d / "model.safetensors").write_bytes(safetensors(weights(3))),
        note="two contradictory sources of truth",
    )
    case(
        "index_is_fifo",
        None,
        category="filesystem",
        post=lambda d: ((d / "model.safetensors.index.json").unlink(), os.mkfifo(d / "model.safetensors.index.json")),
    )
    case("shard_is_fifo", None, category="filesystem", post=lambda d: ((d / S2).unlink(), os.mkfifo(d / S2)))
    case(
        "shard_is_dev_zero_link",
        None,
        category="filesystem",
        post=lambda d: ((d / S2).unlink(), os.symlink("/dev/zero", d / S2)),
    )
    case("shard_link_loop", None, category="filesystem", post=lambda d: ((d / S2).unlink(), os.symlink(S2, d / S2)))


def config(corpus):
    category = "config"

    def case(slug, config=None, expected="error", want=None, note="", **k):
        return corpus.checkpoint(slug, category, expected, want, note, config=config, **k)

    case("missing", False, want=r"(?i)config")
    for name, b in (
        ("empty", b""),
        ("not_json", b"hello"),
        ("array", b"[]"),
        ("truncated", json.dumps(CONFIG).encode()[:-10]),
        ("not_utf8", b'{"a":"\xff"}'),
        ("null", b"null"),
        ("empty_object", b"{}"),
        ("depth_bomb", b'{"a":' * 100000 + b"1" + b"}" * 100000),
    ):
        corpus.checkpoint(f"cfg_{name}", category, "error", config_text=b)
    corpus.checkpoint("cfg_bom", category, "any", config_text=b"\xef\xbb\xbf" + json.dumps(CONFIG).encode())
    corpus.checkpoint(
        "cfg_dup_heads",
        category,
        "any",
        config_text=json.dumps(CONFIG)[:-1] + ',"num_attention_heads":8}',
        note="contradicting duplicate key",
    )
    corpus.checkpoint("cfg_5mb_junk", category, "ok", config={"junk": ["x" * 1000] * 5000})
    corpus.checkpoint(
        "cfg_python_literals",
        category,
        "any",
        config_text=json.dumps({**CONFIG, "rope_theta": float("inf"), "x": float("nan")}),
        note="Python's json writes NaN/Infinity",
    )
    h = "(?i)head"
    for name, kw in (
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
        case(
            name, kw, want=None if name in ("heads_2p63", "heads_1e400", "head_dim_huge") else h
        )  # those may die in the JSON number
    # same product, other split: heads 8 x head_dim 4 fits q_proj and kv 4 x 4 fits k_proj: cannot be seen from shapes
    case(
        "split_ambiguous",
        dict(num_attention_heads=8, num_key_value_heads=4, head_dim=4),
        "ok",
        note="consistent with the shapes though not the true split; undetectable",
    )
    for name, kw in (
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
        case(name, kw, note="must not allocate per declared layer" if "1e9" in name else "")
    case("layers_fewer_than_present", dict(num_hidden_layers=1), "any")
    case("arch_missing", dict(architectures=None), "any")
    case("arch_not_list", dict(architectures="LlamaForCausalLM"), "any")
    case("vocab_mismatch", dict(vocab_size=65), "any")
    case("rope_theta_zero", dict(rope_theta=0), "any")
    case("rope_theta_negative", dict(rope_theta=-1), "any")
    case("rope_scaling_garbage", dict(rope_scaling={"type": ["x"], "factor": "y"}), "any")
    case("eps_negative", dict(rms_norm_eps=-1e-5), "any")
    case("eps_string", dict(rms_norm_eps="1e-5"), "any")
    case("dtype_garbage", dict(torch_dtype="evil"), "any")
    case("max_pos_negative", dict(max_position_embeddings=-1), "any")
    second = "missing_tensor"

    def change_case(slug, change, expected="error", want=None, note="", category=second):
        return corpus.checkpoint(slug, category, expected, want, note, change=change)

    def drop(s):
        return lambda w: {k: v for k, v in w.items() if s not in k}

    change_case("no_q_proj_layer0", drop(Q0), want="(?i)q_proj")
    change_case("no_k_proj_layer1", drop("layers.1.self_attn.k_proj"), want="(?i)k_proj")
    change_case("no_attention_at_all", drop("self_attn"))
    change_case("no_layer_1", drop("layers.1."))
    change_case("no_input_norm", drop("input_layernorm"), "any")
    change_case("no_embed", drop("embed_tokens"), "any")
    third = "wrong_shape"

    def with_shape(name, a):
        return lambda w: w.update({name: np.ones(a, np.float32)})

    for name, t, s in (
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
        change_case(
            name,
            with_shape(t, s),
            category=third,
            note="Conv1D stores [in,out], Linear stores [out,in]" if "conv1d" in name else "",
        )
    change_case("norm_wrong_len", with_shape("model.layers.0.input_layernorm.weight", (31,)), "any", category=third)
    change_case("layers_differ", with_shape("model.layers.1.self_attn.q_proj.weight", (64, 32)), category=third)
    change_case(
        "q_bias_wrong_len",
        lambda w: w.update({"model.layers.0.self_attn.q_proj.bias": np.ones(7, np.float32)}),
        "any",
        category=third,
    )

    def gpt2(shape):
        cf = dict(
            architectures=["GPT2LMHeadModel"],
            model_type="gpt2",
            n_embd=HIDDEN,
            n_head=HEADS,
            n_layer=1,
            n_positions=64,
            vocab_size=VOCABULARY,
        )
        g = np.random.default_rng(3)
        w = {
            "wte.weight": g.standard_normal((VOCABULARY, HIDDEN)),
            "wpe.weight": g.standard_normal((64, HIDDEN)),
            "h.0.ln_1.weight": np.ones(HIDDEN),
            "h.0.ln_1.bias": np.zeros(HIDDEN),
            "h.0.attn.c_attn.weight": g.standard_normal(shape),
            "h.0.attn.c_attn.bias": np.zeros(3 * HIDDEN),
            "h.0.attn.c_proj.weight": g.standard_normal((HIDDEN, HIDDEN)),
            "h.0.attn.c_proj.bias": np.zeros(HIDDEN),
            "h.0.ln_2.weight": np.ones(HIDDEN),
            "h.0.ln_2.bias": np.zeros(HIDDEN),
            "h.0.mlp.c_fc.weight": g.standard_normal((HIDDEN, 4 * HIDDEN)),
            "h.0.mlp.c_fc.bias": np.zeros(4 * HIDDEN),
            "h.0.mlp.c_proj.weight": g.standard_normal((4 * HIDDEN, HIDDEN)),
            "h.0.mlp.c_proj.bias": np.zeros(HIDDEN),
            "ln_f.weight": np.ones(HIDDEN),
            "ln_f.bias": np.zeros(HIDDEN),
        }
        return dict(config_text=json.dumps(cf), tensors={k: v.astype(np.float32) for k, v in w.items()})

    corpus.checkpoint(
        "gpt2_conv1d_right",
        third,
        "any",
        note="[in, 3*out]: right for GPT-2, if supported",
        **gpt2((HIDDEN, 3 * HIDDEN)),
    )
    corpus.checkpoint(
        "gpt2_conv1d_as_linear",
        third,
        "error",
        note="[3*out, in]: orientation contradicts the architecture",
        **gpt2((3 * HIDDEN, HIDDEN)),
    )
    corpus.checkpoint("gpt2_c_attn_not_3d", third, "error", **gpt2((HIDDEN, 3 * HIDDEN + 1)))
    corpus.checkpoint(
        "gpt2_heads_not_dividing",
        category,
        "error",
        **{
            **gpt2((HIDDEN, 3 * HIDDEN)),
            "config_text": json.dumps(
                dict(
                    architectures=["GPT2LMHeadModel"],
                    model_type="gpt2",
                    n_embd=HIDDEN,
                    n_head=5,
                    n_layer=1,
                    vocab_size=VOCABULARY,
                )
            ),
        },
    )


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (self.marker, "w"))


def zipped(entries, compress=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compress) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return file.getvalue()


def zip_bomb(logical=(4 << 30) - (64 << 20)):
    block = bytes(64 << 20)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    segment = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    count = logical // len(block)
    crc = 0
    for _ in range(count):
        crc = zlib.crc32(block, crc)
    compressed = segment * count + b"\x03\x00"
    name = b"archive/data/0"
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 33, crc, len(compressed), logical, len(name), 0) + name
    central = (
        struct.pack(
            "<IHHHHHHIIIHHHHHII",
            0x02014B50,
            20,
            20,
            0,
            8,
            0,
            33,
            crc,
            len(compressed),
            logical,
            len(name),
            0,
            0,
            0,
            0,
            0,
            0,
        )
        + name
    )
    return (
        local
        + compressed
        + central
        + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(central), len(local) + len(compressed), 0)
    )


def pickles(corpus):
    category = "pickle"
    want = r"(?i)pickle|\.bin|\.pt|unsafe|unsupported|refus|not a safetensors|safetensors"
    markers = corpus.marker
    evil = pickle.dumps(Evil(markers[0]), 2)
    by_global = b"cbuiltins\nopen\n(V" + markers[2].encode() + b"\nVw\ntR."  # protocol 0 GLOBAL + REDUCE

    def case(slug, blob, file_name, expected="error", note="", **k):
        return corpus.checkpoint(slug, category, expected, want, note, blob=blob, file_name=file_name, **k)

    case("bin_raw", evil, "pytorch_model.bin", note="executes on unpickling: creates a marker file")
    case("bin_proto0", by_global, "pytorch_model.bin")
    case(
        "bin_zip",
        zipped(
            [
                ("archive/data.pkl", pickle.dumps(Evil(markers[1]), 2)),
                ("archive/version", b"3\n"),
                ("archive/data/0", bytes(64)),
            ]
        ),
        "pytorch_model.bin",
        note="torch zip container",
    )
    case(
        "pt_zip",
        zipped([("archive/data.pkl", pickle.dumps(Evil(markers[1]), 2)), ("archive/version", b"3\n")]),
        "model.pt",
        path="model.pt",
    )
    case("pth_raw", evil, "consolidated.00.pth")
    case("bin_benign_dict", pickle.dumps({"a": [1.0, 2.0]}, 2), "pytorch_model.bin", note="no payload, still refused")
    case("pickle_named_safetensors", evil, "model.safetensors")
    case("zip_named_safetensors", zipped([("data.pkl", evil)]), "model.safetensors")
    case("path_to_bin", evil, "pytorch_model.bin", path="pytorch_model.bin")
    case(
        "legacy_torch_magic",
        pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + evil,
        "pytorch_model.bin",
    )
    corpus.checkpoint(
        "bin_index",
        category,
        "error",
        want,
        blob=evil,
        file_name="pytorch_model-00001-of-00001.bin",
        extra=lambda d: (d / "pytorch_model.bin.index.json").write_text(
            json.dumps({"weight_map": {Q0: "pytorch_model-00001-of-00001.bin"}})
        ),
    )
    corpus.checkpoint(
        "safetensors_index_to_bin",
        category,
        "error",
        want,
        blob=evil,
        file_name="pytorch_model.bin",
        note="safetensors index that names a pickle shard",
        extra=lambda d: (d / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {k: "pytorch_model.bin" for k in weights()}})
        ),
    )
    corpus.checkpoint(
        "bin_next_to_safetensors",
        category,
        "ok",
        note="the valid safetensors must be used, the pickle never touched",
        extra=lambda d: (d / "pytorch_model.bin").write_bytes(evil),
    )
    corpus.checkpoint(
        "remote_code_files",
        category,
        "ok",
        config={"auto_map": {"AutoModelForCausalLM": "evil.Model"}, "trust_remote_code": True},
        extra=lambda d: (d / "evil.py").write_text(f"open({markers[3]!r},'w')\n"),
        note="Python in the directory must never run",
    )
    category = "zip"

    def zip_case(slug, blob, file_name, note=""):
        return corpus.checkpoint(slug, category, "error", want, note, blob=blob, file_name=file_name)

    zip_case("bomb_4gib", zip_bomb(), "pytorch_model.bin", "4 MB that inflates to almost 4 GiB")
    zip_case(
        "bomb_nested",
        zipped(
            [
                (
                    "a.zip",
                    zipped([("b.zip", zipped([("c", bytes(8 << 20))], zipfile.ZIP_DEFLATED))], zipfile.ZIP_DEFLATED),
                )
            ],
            zipfile.ZIP_DEFLATED,
        ),
        "model.pt",
    )
    zip_case(
        "slip",
        zipped([("../../../../tmp/ullage_pwn", b"x"), ("/tmp/ullage_pwn2", b"x")]),
        "pytorch_model.bin",
        "path traversal in entry names",
    )
    zip_case("truncated", zipped([("archive/data.pkl", evil)])[:-10], "pytorch_model.bin")
    zip_case("eocd_only", b"PK\5\6" + bytes(18), "pytorch_model.bin")
    zip_case(
        "entry_count_lie",
        b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 65535),
        "pytorch_model.bin",
    )
    category = "other_format"
    for name, file_name, blob in (
        ("npz", "model.npz", zipped([("a.npy", b"\x93NUMPY")])),
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
        corpus.checkpoint(
            name,
            category,
            "error",
            blob=blob,
            file_name=file_name,
            note="a common accident: the LFS pointer was checked out, not the file" if "lfs" in name else "",
        )


def gguf(corpus):
    category = "gguf"

    def string(text):
        return struct.pack("<Q", len(text)) + text

    def key_value(key, type_code, value):
        return string(key) + struct.pack("<I", type_code) + value

    arch = key_value(b"general.architecture", 8, string(b"llama"))

    def file(tensor_count, key_count, keys, infos, data=b"", version=3, magic=b"GGUF", alignment=32):
        blob = magic + struct.pack("<IQQ", version, tensor_count & (2**64 - 1), key_count & (2**64 - 1)) + keys + infos
        return blob + bytes(-len(blob) % alignment) + data

    def tensor_info(name, dims, type_code, offset, rank=None):
        return (
            string(name)
            + struct.pack("<I", len(dims) if rank is None else rank)
            + b"".join(struct.pack("<Q", d & (2**64 - 1)) for d in dims)
            + struct.pack("<IQ", type_code, offset & (2**64 - 1))
        )

    def u32(key, value):
        return key_value(key, 4, struct.pack("<I", value))

    cases = dict(
        magic_only=b"GGUF",
        bad_magic=file(0, 0, b"", b"", magic=b"GGJT"),
        version_0=file(0, 1, arch, b"", version=0),
        version_1=file(0, 1, arch, b"", version=1),
        version_big_endian=file(0, 1, arch, b"", version=0x03000000),
        version_99=file(0, 1, arch, b"", version=99),
        n_tensors_m1=file(-1, 1, arch, b""),
        n_tensors_2p60=file(2**60, 1, arch, b""),
        n_tensors_wraps_overhead=file(2**64 // 368 + 1, 1, arch, b""),
        n_kv_m1=file(0, -1, arch, b""),
        n_kv_2p59=file(0, 2**59, arch, b""),
        n_kv_1e9=file(0, 10**9, arch, b""),
        key_len_m1=file(0, 1, struct.pack("<Q", 2**64 - 1) + b"abc", b""),
        key_len_2p63=file(0, 1, struct.pack("<Q", 2**63) + b"abc", b""),
        key_len_1gib=file(0, 1, struct.pack("<Q", 1 << 30) + b"abc", b""),
        key_empty=file(0, 1, key_value(b"", 4, bytes(4)), b""),
        str_len_m1=file(0, 1, string(b"k") + struct.pack("<IQ", 8, 2**64 - 1), b""),
        arr_len_2p61=file(0, 1, string(b"k") + struct.pack("<IIQ", 9, 10, 2**61), b""),
        arr_len_strings_2p40=file(0, 1, string(b"k") + struct.pack("<IIQ", 9, 8, 2**40), b""),
        arr_nested_deep=file(0, 1, string(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100000, b""),
        kv_type_99=file(0, 1, string(b"k") + struct.pack("<I", 99), b""),
        kv_type_m1=file(0, 1, string(b"k") + struct.pack("<i", -1), b""),
        dup_key=file(0, 2, arch + arch, b""),
        align_0=file(1, 2, arch + u32(b"general.alignment", 0), tensor_info(b"a", [4], 0, 0), bytes(16)),
        align_13=file(1, 2, arch + u32(b"general.alignment", 13), tensor_info(b"a", [4], 0, 0), bytes(16)),
        align_2p31=file(1, 2, arch + u32(b"general.alignment", 2**31), tensor_info(b"a", [4], 0, 0), bytes(16)),
        align_wrong_type=file(
            1,
            2,
            arch + key_value(b"general.alignment", 5, struct.pack("<i", 32)),
            tensor_info(b"a", [4], 0, 0),
            bytes(16),
        ),
        dims_5=file(1, 1, arch, tensor_info(b"a", [1] * 5, 0, 0), bytes(32)),
        dims_2p31=file(1, 1, arch, tensor_info(b"a", [], 0, 0, 2**31)),
        dim_negative=file(1, 1, arch, tensor_info(b"a", [-1, 4], 0, 0), bytes(32)),
        dims_product_wraps=file(1, 1, arch, tensor_info(b"a", [2**32, 2**32], 0, 0), bytes(32)),
        ne_int64max_times_2=file(1, 1, arch, tensor_info(b"a", [2**63 - 1, 2], 24, 0), bytes(32)),
        nbytes_wraps=file(1, 1, arch, tensor_info(b"a", [2**62], 0, 0), bytes(32)),
        pad_wraps_to_zero=file(
            2, 1, arch, tensor_info(b"a", [2**62 - 1], 0, 0) + tensor_info(b"b", [4], 0, 0), bytes(64)
        ),
        sum_of_sizes_wraps=file(
            2,
            1,
            arch,
            tensor_info(b"a", [2**63 - 64], 24, 0) + tensor_info(b"b", [2**63 - 64], 24, 2**63 - 64),
            bytes(64),
        ),
        type_unknown=file(1, 1, arch, tensor_info(b"a", [4], 9999, 0), bytes(32)),
        type_negative=file(1, 1, arch, tensor_info(b"a", [4], 2**32 - 1, 0), bytes(32)),
        row_not_block_multiple=file(1, 1, arch, tensor_info(b"a", [33], 8, 0), bytes(64)),
        offset_out_of_file=file(1, 1, arch, tensor_info(b"a", [4], 0, 2**40), bytes(32)),
        offset_wraps=file(1, 1, arch, tensor_info(b"a", [4], 0, 2**64 - 32), bytes(32)),
        offset_misaligned=file(1, 1, arch, tensor_info(b"a", [4], 0, 1), bytes(32)),
        data_truncated=file(1, 1, arch, tensor_info(b"a", [4096], 0, 0), bytes(32)),
        dup_tensor=file(2, 1, arch, tensor_info(b"a", [8], 0, 0) + tensor_info(b"a", [8], 0, 32), bytes(64)),
        name_len_m1=file(1, 1, arch, struct.pack("<Q", 2**64 - 1) + b"a"),
        name_esc=file(1, 1, arch, tensor_info((ESC + "[31m" + XSS).encode(), [4], 9999, 0), bytes(32)),
        block_count_2p31=file(0, 2, arch + u32(b"llama.block_count", 2**31), b""),
        no_tensors=file(0, 1, arch, b""),
    )
    for key, blob in cases.items():
        corpus.checkpoint(key, category, "error", blob=blob, file_name="model.gguf", path="model.gguf")


def filesystem(corpus):
    category = "filesystem"

    def case(slug, change, expected="error", note="", flags=(), want=None, path=None, config=True):
        d = corpus.add(slug, category, expected, want, note, flags, path)
        if d is not None:
            if config:
                (d / "config.json").write_text(json.dumps(CONFIG))
            change(d)

    model = "model.safetensors"
    case("empty_dir", lambda d: None, config=False)
    case("config_only", lambda d: None, want=r"(?i)safetensors|weight|no ")
    case("not_existing", lambda d: None, path="nope", config=False)
    case("dir_instead_of_file", lambda d: (d / model).mkdir())
    case("fifo_model", lambda d: os.mkfifo(d / model), note="open() on a FIFO blocks for ever")
    case(
        "fifo_config",
        lambda d: (
            (d / "config.json").unlink(),
            os.mkfifo(d / "config.json"),
            (d / model).write_bytes(safetensors(weights())),
        ),
    )
    case("fifo_as_path", lambda d: os.mkfifo(d / "x.safetensors"), path="x.safetensors")

    def sock(d):
        s = socket.socket(socket.AF_UNIX)
        cwd = os.getcwd()
        os.chdir(d)
        try:
            s.bind(model)
        finally:
            os.chdir(cwd)
            s.close()

    case("unix_socket", sock)
    for name, t in (
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
        ("self_loop", model),
        ("to_dir", "/"),
        ("long_chain_loop", "a"),
    ):

        def mk(d, t=t, name=name):
            os.symlink(t, d / model)
            if name == "long_chain_loop":
                os.symlink("b", d / "a")
                os.symlink("a", d / "b")

        case(f"link_{name}", mk)
    case(
        "config_link_passwd",
        lambda d: (
            (d / "config.json").unlink(),
            os.symlink("/etc/passwd", d / "config.json"),
            (d / model).write_bytes(safetensors(weights())),
        ),
        note="content must not be echoed",
    )
    case(
        "config_link_dev_zero",
        lambda d: (
            (d / "config.json").unlink(),
            os.symlink("/dev/zero", d / "config.json"),
            (d / model).write_bytes(safetensors(weights())),
        ),
    )
    case(
        "config_is_dir",
        lambda d: (
            (d / "config.json").unlink(),
            (d / "config.json").mkdir(),
            (d / model).write_bytes(safetensors(weights())),
        ),
    )
    case("dir_link_loop", lambda d: os.symlink(".", d / "loop"), note="recursive walkers spin")
    case(
        "model_no_permission",
        lambda d: ((d / model).write_bytes(safetensors(weights())), os.chmod(d / model, 0)),
        flags=["nonroot"],
    )
    case(
        "config_no_permission",
        lambda d: ((d / model).write_bytes(safetensors(weights())), os.chmod(d / "config.json", 0)),
        flags=["nonroot"],
    )

    def noperm(d):
        (d / "in").mkdir()
        (d / "in" / model).write_bytes(safetensors(weights()))
        (d / "in/config.json").write_text(json.dumps(CONFIG))
        os.chmod(d / "in", 0)

    case("dir_no_permission", noperm, flags=["nonroot"], path="in", config=False)
    case(
        "read_only_checkpoint",
        lambda d: ((d / model).write_bytes(safetensors(weights())), os.chmod(d / model, 0o444), os.chmod(d, 0o555)),
        "ok",
        note="nothing may be written next to the weights",
    )
    case(
        "two_candidates",
        lambda d: (
            (d / "a.safetensors").write_bytes(safetensors(weights())),
            (d / "b.safetensors").write_bytes(safetensors(weights(3))),
        ),
        "any",
        note="no model.safetensors, no index, two files",
    )
    case(
        "adapter_only",
        lambda d: (d / "adapter_model.safetensors").write_bytes(
            safetensors({"base_model.model.x.lora_A.weight": np.ones((4, 32), np.float32)})
        ),
    )
    case(
        "1e4_files",
        lambda d: (
            [(d / f"junk{i}").write_bytes(b"") for i in range(10000)]
            and (d / model).write_bytes(safetensors(weights()))
        ),
        "ok",
    )
    if corpus.sparse:

        def sp(d):
            b = container(json.dumps({Q0: {"dtype": "F32", "shape": [2**17, 2**17], "data_offsets": [0, 2**36]}}))
            with open(d / model, "wb") as o:
                o.write(b)
                o.truncate(len(b) + 2**36)

        case("sparse_64gib", sp, note="64 GiB sparse q_proj of the wrong shape: reject before reading")

        def sh(d):
            with open(d / model, "wb") as o:
                o.write(struct.pack("<Q", 100_000_001))
                o.truncate(8 + 100_000_001)

        case("sparse_header_over_cap", sh, note="the header fits the file but exceeds the 100 MB cap")


def numbers(corpus):
    category = "numeric"
    non_finite = r"(?i)nan|non-?finite|inf(inity)?\b"

    def case(slug, change, expected="ok", want=None, note="", dtype="F32", **k):
        corpus.checkpoint(slug, category, expected, want, note, change=change, dtype=dtype, **k)

    def put(name, idx, val):
        def f(w):
            a = w[name].copy()
            a[idx] = val
            w[name] = a

        return f

    def full(v, key=""):
        return lambda w: w.update({k: np.full_like(a, v) for k, a in w.items() if key in k and a.ndim == 2})

    case("nan_one_q", put(Q0, (3, 5), np.nan), "any", non_finite)
    case("nan_last_k", put(K0, (-1, -1), np.nan), "any", non_finite)
    case("nan_all_q", full(np.nan, "q_proj"), "any", non_finite)
    case("inf_one_q", put(Q0, (0, 0), np.inf), "any", non_finite)
    case("neg_inf_one_k", put(K0, (0, 0), -np.inf), "any", non_finite)
    case(
        "inf_pair_cancels",
        lambda w: (put(Q0, (0, 0), np.inf)(w), put(Q0, (0, 1), -np.inf)(w)) and None,
        "any",
        non_finite,
        "Inf-Inf makes NaN in the Gram matrix",
    )
    case("nan_bf16", put(Q0, (3, 5), np.nan), "any", non_finite, dtype="BF16")
    case("inf_f16", put(Q0, (3, 5), np.inf), "any", non_finite, dtype="F16")
    case("nan_f64", put(Q0, (3, 5), np.nan), "any", non_finite, dtype="F64")
    case(
        "nan_signalling",
        lambda w: w.update({Q0: Tensor("F32", [32, 32], struct.pack("<I", 0x7F800001) + w[Q0].tobytes()[4:])}),
        "any",
        non_finite,
        "sNaN may trap or be lost by max()",
    )
    case(
        "nan_negative_payload",
        lambda w: w.update({Q0: Tensor("F32", [32, 32], struct.pack("<I", 0xFFABCDEF) + w[Q0].tobytes()[4:])}),
        "any",
        non_finite,
    )
    case("nan_in_unused_embed", put("model.embed_tokens.weight", (0, 0), np.nan), "any")
    case("nan_in_norm", put("model.layers.0.input_layernorm.weight", (0,), np.nan), "any", non_finite)
    case("inf_in_norm", put("model.layers.1.input_layernorm.weight", (1,), np.inf), "any", non_finite)
    case(
        "nan_in_second_layer_only",
        put("model.layers.1.self_attn.q_proj.weight", (31, 31), np.nan),
        "any",
        non_finite + "|layers?.?1",
    )
    case("denormal_f32", full(1e-40))
    case("denormal_min_f32", full(1.4e-45))
    case("denormal_bf16", full(1e-40), dtype="BF16")
    case("denormal_f16", full(6e-8), dtype="F16")
    case("denormal_f64", full(5e-324), "any", dtype="F64")
    case("zero_q0", lambda w: w.update({Q0: np.zeros((32, 32), np.float32)}), note="sigma = 0: no division by it")
    case("zero_all", full(0.0))
    case("minus_zero_all", full(-0.0))
    case("zero_norms", lambda w: w.update({k: v * 0 for k, v in w.items() if "norm" in k}))
    case("rank1_q", lambda w: w.update({Q0: np.outer(np.arange(32), np.ones(32)).astype(np.float32)}))
    case("rank1_all_ones", full(1.0))
    case("one_nonzero", lambda w: w.update({Q0: np.eye(32, dtype=np.float32) * (np.arange(32)[:, None] == 3)}))
    case(
        "equal_singular_values",
        lambda w: w.update({Q0: np.eye(32, dtype=np.float32), K0: np.eye(16, 32, dtype=np.float32)}),
        note="power iteration has no gap",
    )
    case(
        "start_vector_orthogonal",
        lambda w: w.update({Q0: np.outer(np.ones(32), np.r_[1, -1, np.zeros(30)]).astype(np.float32)}),
        note="an all-ones start vector is in the null space",
    )
    case(
        "graded_1e_pm30",
        lambda w: w.update({Q0: (np.eye(32) * np.logspace(-30, 30, 32)).astype(np.float32)}),
        note="condition number 1e60",
    )
    case("huge_1e38", full(1e38), note="squares overflow float32; fine in double or with scaling")
    case("huge_flt_max", full(np.finfo(np.float32).max))
    case("huge_bf16", full(3e38), dtype="BF16")
    case("huge_f16_max", full(65504.0), dtype="F16")
    case(
        "huge_f64_1e300",
        lambda w: {k: v.astype(np.float64) * 1e300 for k, v in w.items()},
        "any",
        note="Gram overflows even in double",
        dtype="F64",
    )
    case("tiny_f64_1e_300", lambda w: {k: v.astype(np.float64) * 1e-300 for k, v in w.items()}, "any", dtype="F64")
    case(
        "mixed_max_and_denormal",
        lambda w: w.update({Q0: np.where(np.arange(1024).reshape(32, 32) % 2, 3e38, 1e-44).astype(np.float32)}),
    )
    case("one_outlier_1e30", put(Q0, (7, 7), 1e30))
    case(
        "alternating_sign_cancel",
        lambda w: w.update({Q0: (np.where(np.indices((32, 32)).sum(0) % 2, 1, -1) * 1e30).astype(np.float32)}),
    )
    case(
        "tiny_1x1",
        lambda w: {k: (np.ones([1] * a.ndim, np.float32)) for k, a in w.items()},
        config=dict(
            hidden_size=1, num_attention_heads=1, num_key_value_heads=1, head_dim=1, vocab_size=1, intermediate_size=1
        ),
        note="smallest possible model",
    )
    category = "fp8"
    g = np.random.default_rng(5)

    def fp8(
        slug, dtype, poke=None, scale=("weight_scale_inv", [1, 1], 1.0), expected="any", want=None, note="", sdt="F32"
    ):
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
                    out[k] = Tensor(dtype, a.shape, b)
                    if scale:
                        n, s, v = scale
                        out[k.replace("weight", n)] = (
                            Tensor("F8_E8M0", s, bytes([v] * int(np.prod(s))))
                            if sdt == "F8_E8M0"
                            else encode(np.full(s, v, np.float32))
                        )
                else:
                    out[k] = encode(a, "BF16")
            return out

        corpus.checkpoint(
            slug,
            category,
            expected,
            want,
            note,
            change=f,
            config=dict(
                torch_dtype="bfloat16",
                quantization_config=dict(quant_method="fp8", fmt="e4m3", weight_block_size=[128, 128]),
            ),
        )

    fp8("e4m3_plain", "F8_E4M3")
    fp8("e5m2_plain", "F8_E5M2")
    fp8("e4m3_nan_7f", "F8_E4M3", [(5, 0x7F)], want=non_finite, note="0x7F is NaN in E4M3 (fn)")
    fp8("e4m3_nan_ff", "F8_E4M3", [(1023, 0xFF)], want=non_finite)
    fp8("e5m2_inf", "F8_E5M2", [(0, 0x7C)], want=non_finite)
    fp8("e5m2_neg_inf", "F8_E5M2", [(0, 0xFC)], want=non_finite)
    fp8("e5m2_nan_7d", "F8_E5M2", [(9, 0x7D)], want=non_finite)
    fp8("e4m3fnuz_nan_80", "F8_E4M3FNUZ", [(9, 0x80)], want=None, note="0x80 is NaN in fnuz, -0 elsewhere")
    fp8("no_scales", "F8_E4M3", scale=None)
    fp8("scale_nan", "F8_E4M3", scale=("weight_scale_inv", [1, 1], np.nan), want=non_finite)
    fp8("scale_inf", "F8_E4M3", scale=("weight_scale_inv", [1, 1], np.inf), want=non_finite)
    fp8("scale_zero", "F8_E4M3", scale=("weight_scale_inv", [1, 1], 0.0))
    fp8("scale_negative", "F8_E4M3", scale=("weight_scale_inv", [1, 1], -1.0))
    fp8("scale_1e38", "F8_E4M3", scale=("weight_scale_inv", [1, 1], 3e38))
    fp8("scale_wrong_shape", "F8_E4M3", scale=("weight_scale_inv", [3, 7], 1.0))
    fp8("scale_empty", "F8_E4M3", scale=("weight_scale_inv", [0, 0], 1.0))
    fp8("scale_scalar", "F8_E4M3", scale=("weight_scale", [], 0.01))
    fp8("scale_e8m0_nan", "F8_E4M3", scale=("weight_scale", [32, 1], 0xFF), sdt="F8_E8M0", want=non_finite)
    fp8("scale_e8m0_max", "F8_E4M3", scale=("weight_scale", [32, 1], 0xFE), sdt="F8_E8M0")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--with-sparse", action="store_true")
    parser.add_argument("--only")
    options = parser.parse_args()
    root = Path(options.target).absolute()
    if root.exists() and any(root.iterdir()):
        if not options.force or not (root / "manifest.jsonl").is_file():
            sys.exit(f"{root}: not empty (use --force on an older corpus)")
        for folder, folders, _ in os.walk(root):  # give back permissions before removal
            for name in folders:
                path = Path(folder) / name
                if not path.is_symlink():
                    os.chmod(path, 0o755)
        for path in root.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    root.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(root, options.only, options.with_sparse)
    for part in (valid, header, tensorinfo, names, index, config, pickles, gguf, filesystem, numbers):
        part(corpus)
    with open(root / "manifest.jsonl", "w") as file:
        for row in corpus.rows:
            file.write(json.dumps(row) + "\n")
    by_category = {}
    for row in corpus.rows:
        by_category.setdefault(row["category"], []).append(row["expected"])
    for category, expected in by_category.items():
        counts = "  ".join(f"{word} {expected.count(word):4d}" for word in ("error", "ok", "any"))
        print(f"{category:16s} {len(expected):4d}  {counts}")
    print(f"{len(corpus.rows)} cases in {root}")


if __name__ == "__main__":
    main()
