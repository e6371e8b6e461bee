"""Attention weights of well-known shapes, random BF16, norm gains that are not one: what the benchmarks scan."""

import json
import pathlib
import struct

import numpy as np

# name: (layers, width, heads, kv heads, head width)
SHAPES = {
    "llama-2-7b": (32, 4096, 32, 32, 128),
    "llama-2-70b": (1, 8192, 64, 8, 128),
    "gpt2-xl": (48, 1600, 25, 25, 64),
}


def bf16(values):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def tensors(shape):
    """(name, shape, standard deviation or None for a gain) of one checkpoint, in the order of the file."""
    layers, width, heads, kv_heads, head = SHAPES[shape][:5]
    for i in range(layers):
        if shape == "gpt2-xl":
            yield f"h.{i}.ln_1.weight", [width], None
            yield f"h.{i}.ln_1.bias", [width], 0.1
            yield f"h.{i}.attn.c_attn.weight", [width, 3 * width], width**-0.5
            yield f"h.{i}.attn.c_attn.bias", [3 * width], 0.1
            continue
        stem = f"model.layers.{i}."
        yield stem + "input_layernorm.weight", [width], None
        for name, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            yield stem + f"self_attn.{name}_proj.weight", [rows * head, width], width**-0.5


def make(folder, shape, layers=None, seed=0):
    """Writes FOLDER/{config.json,model.safetensors}, unless they are there already."""
    folder = pathlib.Path(folder)
    layers_all, width, heads, kv_heads, head = SHAPES[shape]
    layers = layers or layers_all
    if (folder / "model.safetensors").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    kept = [
        entry
        for entry in tensors(shape)
        if int(entry[0].split("layers." if "layers" in entry[0] else "h.")[1].split(".")[0]) < layers
    ]
    header, offset = {}, 0
    for name, dims, _ in kept:
        size = 2 * int(np.prod(dims))
        header[name] = {"dtype": "BF16", "shape": dims, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(seed)
    with (folder / "model.safetensors.part").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, dims, deviation in kept:
            values = rng.standard_normal(dims, dtype=np.float32)
            file.write(bf16(1 + 0.2 * values if deviation is None else deviation * values).tobytes())
    (folder / "model.safetensors.part").rename(folder / "model.safetensors")
    if shape == "gpt2-xl":
        config = dict(
            model_type="gpt2", n_embd=width, n_head=heads, n_layer=layers, n_positions=1024, layer_norm_epsilon=1e-5
        )
    else:
        config = dict(
            model_type="llama",
            hidden_size=width,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head,
            num_hidden_layers=layers,
            max_position_embeddings=4096,
            rope_theta=10000.0,
            rms_norm_eps=1e-5,
        )
    (folder / "config.json").write_text(json.dumps(config))
    return folder
