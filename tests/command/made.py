"""Small checkpoints of a Llama and a BERT shape, made from a seed: what the tests of the command read."""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file


def llama(
    folder: pathlib.Path,
    *,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=8,
    width=32,
    seed=1,
    scale=1.0,
    edit=None,
    config=None,
):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return (scale * rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    tensors = {"model.embed_tokens.weight": normal(64, width), "model.norm.weight": np.ones(width, np.float32)}
    for i in range(layers):
        stem = f"model.layers.{i}."
        tensors[stem + "input_layernorm.weight"] = (1 + 0.3 * rng.standard_normal(width)).astype(np.float32)
        tensors[stem + "self_attn.q_proj.weight"] = normal(heads * head_dim, width)
        tensors[stem + "self_attn.k_proj.weight"] = normal(kv_heads * head_dim, width)
        tensors[stem + "self_attn.v_proj.weight"] = normal(kv_heads * head_dim, width)
        tensors[stem + "self_attn.o_proj.weight"] = normal(width, heads * head_dim)
    if edit:
        edit(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    settings = dict(
        model_type="llama",
        hidden_size=width,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        num_hidden_layers=layers,
        max_position_embeddings=128,
        rope_theta=10000.0,
        rms_norm_eps=1e-5,
    )
    settings.update(config or {})
    (folder / "config.json").write_text(json.dumps(settings))
    return tensors
