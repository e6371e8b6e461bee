"""attn_implementation="ullage" against eager, on tiny models made from configs."""

import os
import warnings

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
import torch
import transformers as hf
from transformers import masking_utils as mu

import dense
import ullage.huggingface
from ullage.torch import _operator, attention_path

VOCABULARY, TOKENS = 61, 24
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
IDS = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
# Weights large enough for rows of attention that are far from uniform: with the configs' 0.02 any mask would pass.
MODELS = {
    "gpt2": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=64,
            n_embd=32,
            n_layer=2,
            n_head=4,
            attn_pdrop=0,
            resid_pdrop=0,
            embd_pdrop=0,
            initializer_range=0.3,
            **IDS,
        )
    ),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, num_key_value_heads=2, initializer_range=0.3, **IDS)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(
        hf.Gemma2Config(
            **SIZES,
            num_key_value_heads=2,
            head_dim=8,
            sliding_window=7,
            attn_logit_softcapping=4.0,
            query_pre_attn_scalar=8,
            initializer_range=0.3,
            **IDS,
        )
    ),
    "bert": lambda: hf.BertForMaskedLM(
        hf.BertConfig(
            **SIZES, attention_probs_dropout_prob=0, hidden_dropout_prob=0, initializer_range=0.3, pad_token_id=0
        )
    ),
}
DECODERS = ("gpt2", "llama", "gemma2")


def make(name, implementation):
    torch.manual_seed(0)
    model = MODELS[name]() if isinstance(name, str) else name()
    model.set_attn_implementation(implementation)
    return model.eval()


def inputs(padded=None):
    torch.manual_seed(1)
    ids = torch.randint(2, VOCABULARY, (3, TOKENS))
    mask = torch.ones_like(ids)
    if padded == "left":
        mask[0, :9] = 0
    elif padded == "right":
        mask[0, -9:] = 0
        mask[2, -1:] = 0
    return {"input_ids": ids, "attention_mask": None if padded is None else mask}


ONE = torch.zeros(1, 1, 1, 8)
NO_KERNEL = attention_path(ONE, ONE, ONE).reason  # on a CPU without any


@pytest.fixture(autouse=True)
def slow_paths_are_errors():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore" if NO_KERNEL else "error", message="ullage.huggingface")
        yield


def slow(reason):
    return pytest.warns(UserWarning, match=f"ullage.huggingface: {NO_KERNEL or reason}: computed by the reference")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("padded", [None, "left", "right"])
def test_outputs_are_eagers(name, padded):
    given = inputs(padded)
    eager, ours = (make(name, how)(**given).logits for how in ("eager", "ullage"))
    real = torch.ones(3, TOKENS) > 0 if padded is None else given["attention_mask"] > 0
    assert not ours.isnan().any()
    torch.testing.assert_close(ours[real], eager[real], rtol=1e-4, atol=1e-4 * eager.abs().max().item())
    assert eager.std() > 0.1


@pytest.mark.parametrize("name", MODELS)
def test_the_mask_matters_to_these_models(name):
    given = inputs()
    model = make(name, "ullage")
    changed = given["input_ids"].clone()
    changed[:, 3] = (changed[:, 3] + 7) % VOCABULARY
    moved = (model(**given).logits - model(input_ids=changed).logits).abs().amax(-1)
    assert (moved[:, 4:] > 1e-3).all()
    assert (moved[:, :3] == 0).all() == (name != "bert")


@pytest.mark.parametrize("name", MODELS)
def test_training_follows_eager(name):
    given = inputs("right")
    labels = given["input_ids"].masked_fill(given["attention_mask"] == 0, -100)
    losses = {}
    for how in ("eager", "ullage"):
        model = make(name, how).train()
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
        losses[how] = []
        for _ in range(15):
            loss = model(**given, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[how].append(loss.item())
    assert losses["ullage"] == pytest.approx(losses["eager"], rel=1e-3)
    assert losses["ullage"][-1] < 0.8 * losses["ullage"][0]


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("cache", [None, "dynamic", "static"])
def test_generation_is_eagers(name, cache):
    given = inputs("left")
    tokens = [
        make(name, how).generate(
            **given,
            max_new_tokens=14,
            do_sample=False,
            use_cache=cache is not None,
            cache_implementation=cache,
            disable_compile=True,
        )
        for how in ("eager", "ullage")
    ]
    assert tokens[0].shape == (3, TOKENS + 14) and torch.equal(*tokens)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("cache", [hf.DynamicCache, hf.StaticCache])
def test_chunks_of_queries_with_a_cache(name, cache):
    """Three tokens, then five, then one, ...: queries fewer than keys, windows that slide past the cache's beginning."""
    logits = {}
    for how in ("eager", "ullage"):
        model = make(name, how)
        past = cache(config=model.config, **({"max_cache_len": 40} if cache is hf.StaticCache else {}))
        parts = [
            model(ids, past_key_values=past, use_cache=True).logits
            for ids in inputs()["input_ids"].split([3, 5, 1, 1, 10, 4], 1)
        ]
        logits[how] = torch.cat(parts, 1)
    torch.testing.assert_close(
        logits["ullage"], logits["eager"], rtol=1e-4, atol=1e-4 * logits["eager"].abs().max().item()
    )
    torch.testing.assert_close(logits["ullage"], make(name, "ullage")(**inputs()).logits, rtol=1e-3, atol=1e-3)


BANDS = {
    "causal": mu.causal_mask_function,
    "bidirectional": mu.bidirectional_mask_function,
    "window": mu.sliding_window_causal_mask_function(4),
    "bidirectional window": mu.sliding_window_bidirectional_mask_function(3),
    "windows in windows": mu.and_masks(mu.sliding_window_causal_mask_function(5), mu.sliding_window_overlay(3)),
}


@pytest.mark.parametrize("name", BANDS)
@pytest.mark.parametrize(
    "queries, keys, offset, kv_offset",
    [(6, 6, 0, 0), (4, 11, 7, 0), (4, 11, 0, 0), (4, 11, 3, 0), (5, 8, 9, 6), (4, 9, 8, 5)],
)
@pytest.mark.parametrize("padding", [None, 17])
def test_a_mask_says_what_sdpas_does(name, queries, keys, offset, kv_offset, padding):
    torch.manual_seed(2)
    padding = None if padding is None else torch.rand(2, padding) < 0.7
    arguments = (2, queries, keys, offset, kv_offset, BANDS[name], padding)
    expected = mu.sdpa_mask(*arguments, allow_is_causal_skip=False)
    for as_tensor in (False, True):
        if as_tensor:
            arguments = (*arguments[:3], torch.tensor(offset), *arguments[4:])
        mask = ullage.huggingface._mask(*arguments)
        if mask.dtype == torch.bool:  # a window past the end of what is there: no kernel has it
            assert name.startswith(("window", "bidirectional w")) and torch.equal(mask, expected)
            continue
        left, right, found = mask[0, 0, 0, :3].tolist()
        distance = torch.arange(keys)[None, :] - torch.arange(queries)[:, None] - found
        seen = (distance >= (-left if left >= 0 else -1000)) & (distance <= (right if right >= 0 else 1000))
        assert torch.equal(seen & (mask[:, :, :, 3:] == 1), expected)
        if not as_tensor:
            assert _operator.aligned(left, right, found, queries, keys) is not None


def test_other_masks_fall_to_the_reference_and_say_so():
    """Two sequences in one row, told apart by their positions."""
    positions = torch.cat([torch.arange(10), torch.arange(TOKENS - 10)])[None]
    ids = inputs()["input_ids"]
    given = {"position_ids": positions, "use_cache": False}  # with a cache Transformers does not look for them
    eager = make("llama", "eager")(ids, **given).logits
    model = make("llama", "ullage")
    with slow("an additive bias or mask"):
        ours = model(ids, **given).logits
    torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-4 * eager.abs().max().item())


def test_sinks():
    def gpt_oss():
        return hf.GptOssForCausalLM(
            hf.GptOssConfig(
                **SIZES,
                num_key_value_heads=2,
                head_dim=8,
                sliding_window=7,
                num_local_experts=2,
                num_experts_per_tok=1,
                initializer_range=0.3,
                **IDS,
            )
        )

    eager = make(gpt_oss, "eager")(**inputs("left")).logits
    with slow("attention sinks"):
        ours = make(gpt_oss, "ullage")(**inputs("left")).logits
    real = inputs("left")["attention_mask"] > 0
    torch.testing.assert_close(ours[real], eager[real], rtol=1e-4, atol=1e-4 * eager.abs().max().item())


def t5(layers=2, **settings):
    config = hf.T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=layers,
        num_heads=4,
        dropout_rate=0,
        decoder_start_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
        **settings,
    )
    return hf.T5ForConditionalGeneration(config)


def test_bias_by_position():
    def model():
        return t5(initializer_factor=3.0)

    given = inputs("right") | {"decoder_input_ids": inputs()["input_ids"][:, :7]}
    with torch.no_grad():
        eager = make(model, "eager")(**given).logits
        with slow("an additive bias or mask"):
            ours = make(model, "ullage")(**given).logits
    torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-4 * eager.abs().max().item())


def test_an_image_model():
    def vit():
        return hf.ViTModel(
            hf.ViTConfig(
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=48,
                image_size=16,
                patch_size=4,
                initializer_range=0.3,
            )
        )

    image = torch.randn(2, 3, 16, 16)
    assert ullage.huggingface.check(make(vit, "ullage"), pixel_values=image) == 2
    with pytest.raises(ValueError, match="check: inputs: ViTModel needs pixel_values"):
        ullage.huggingface.check(make(vit, "ullage"))
    eager, ours = (make(vit, how)(image).last_hidden_state for how in ("eager", "ullage"))
    torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "module_says, argument, causal",
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
@pytest.mark.parametrize("window", [None, 3])
def test_without_a_mask_the_module_says(module_says, argument, causal, window):
    """The last query stands at the last key; a window is one of a causal model."""
    module = torch.nn.Module()
    module.is_causal = module_says
    query, key, value = torch.randn(2, 4, 3, 8), torch.randn(2, 2, 7, 8), torch.randn(2, 2, 7, 8)
    output, weights = hf.AttentionInterface()["ullage"](
        module, query, key, value, None, is_causal=argument, scaling=0.4, sliding_window=window
    )
    expected = dense.attention(
        query, key, value, scale=0.4, is_causal=causal, window=window if causal else None, offset=4
    )
    torch.testing.assert_close(output, expected.transpose(1, 2).float(), rtol=1e-5, atol=1e-5)
    assert weights is None and output.is_contiguous()


@pytest.mark.parametrize("name", ["llama", "gemma2", "bert"])
def test_compiled(name):
    torch._dynamo.reset()
    model = make(name, "ullage")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for padded in (None, "right"):
        given = inputs(padded)
        torch.testing.assert_close(
            compiled(**given, use_cache=False).logits if name != "bert" else compiled(**given).logits,
            model(**given).logits,
        )


def test_another_name_for_another_softmax():
    ullage.huggingface.register("ullage-standard", softmax="standard")
    given = inputs("left")
    standard, stabilised = (make("llama", how)(**given).logits for how in ("ullage-standard", "ullage"))
    torch.testing.assert_close(standard, stabilised)
    with pytest.raises(
        ValueError, match="register: softmax: one of standard, published, stabilised is needed, not 'fast'"
    ):
        ullage.huggingface.register("other", softmax="fast")
    assert "other" not in hf.AttentionInterface()


@pytest.mark.parametrize(
    "how, dtype, reason",
    [("ullage", torch.float16, "float16 tensors"), ("ullage-published", torch.float32, "the published shift")],
)
def test_a_dtype_or_softmax_without_kernels_says_so(how, dtype, reason):
    ullage.huggingface.register("ullage-published", softmax="published")
    model = make("llama", how).to(dtype)
    with pytest.warns(UserWarning, match=reason if dtype == torch.float16 else NO_KERNEL or reason):
        logits = model(**inputs()).logits
    torch.testing.assert_close(logits.float(), make("llama", "eager")(**inputs()).logits, rtol=0.05, atol=0.05)


def test_gradient_checkpointing():
    given = inputs("right")
    grads = []
    for checkpointed in (False, True):
        model = make("llama", "ullage").train()
        if checkpointed:
            model.gradient_checkpointing_enable()
        model(**given, labels=given["input_ids"], use_cache=False).loss.backward()
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_a_bias_by_position_has_no_gradient():
    model = t5(layers=1)
    model.set_attn_implementation("ullage")
    ids = inputs()["input_ids"]
    with pytest.raises(NotImplementedError, match="position_bias: a bias by position .T5's relative_attention_bias"):
        model(input_ids=ids, labels=ids)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("relative_attention_bias" not in name)
    with slow("an additive bias or mask"):
        model(input_ids=ids, labels=ids).loss.backward()


@pytest.mark.parametrize("name", MODELS)
def test_check_counts_the_layers(name):
    model = make(name, "ullage").train()
    assert ullage.huggingface.check(model, **inputs()) == 2 and model.training
    assert ullage.huggingface.check(model) == 2
    with pytest.raises(NotImplementedError, match="with attn_implementation='eager' never called ullage's attention"):
        ullage.huggingface.check(make(name, "eager"), **inputs())


@pytest.mark.parametrize(
    "model, why",
    [
        (lambda: hf.BloomModel(hf.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)), "fails"),
        (
            lambda: hf.XLNetModel(hf.XLNetConfig(vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=48)),
            "never",
        ),
    ],
    ids=["bloom", "xlnet"],
)
def test_check_names_a_class_that_is_not_reached(model, why):
    made = model()
    made.config._attn_implementation = "ullage"
    with pytest.raises(NotImplementedError, match=f"^ullage.huggingface.check: {type(made).__name__}.*{why}"):
        ullage.huggingface.check(made, input_ids=inputs()["input_ids"])


def test_dropout_is_refused():
    model = hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=4, **IDS))
    model.set_attn_implementation("ullage")
    with pytest.raises(ValueError, match="dropout: the attention has none, the config asks for 0.1"):
        model.train()(**inputs())
    assert model.eval()(**inputs()).logits.isfinite().all()


def test_other_errors():
    module, query = torch.nn.Module(), torch.randn(1, 2, 3, 8)
    attend = hf.AttentionInterface()["ullage"]
    with pytest.raises(NotImplementedError, match="cache: paged caches"):
        attend(module, query, query, query, None, cache=object())
    mask = ullage.huggingface._mask(1, 3, 3)
    with pytest.raises(ValueError, match="attention_mask: made for 3 keys, there are 5"):
        attend(module, query, torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8), mask)
