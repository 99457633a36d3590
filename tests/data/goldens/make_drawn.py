#!/usr/bin/env python3
"""Write goldens of tiny models whose weights are not stored: every element is drawn by a counter.

    make_drawn.py OUT [--only NAME ...]

For each model of MODELS, OUT/NAME gets config.json, golden.json and golden.safetensors as make_goldens.py writes them
(without router_*), drawn.json, which says how to draw each tensor of the Hugging Face directory, and, for most, gguf.json,
which says how llama.cpp's converter would make a GGUF file of them: metadata, and the tensors by name, type and parts.
Both hold the same values, so one golden serves for both. tests/support/drawn_model.h makes the files.

The integer k of element i of a tensor is drawn from splitmix64(fnv1a64(key) + (i + 1) * 0x9e3779b97f4a7c15): the sum of the
low 6 bits of its four lowest bytes, less 126. The element is k * 2^exponent; in a norm, 1 + (k >> 2) * 2^-7. BF16 and F16
hold these exactly. Needs torch, transformers, safetensors, gguf.
"""
import argparse
import json
import math
import re
import shutil
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

import make_goldens

BASE = dict(hidden_size=128, num_hidden_layers=3, vocab_size=512, max_position_embeddings=1024, hidden_act="silu",
            rms_norm_eps=1e-6, tie_word_embeddings=False, torch_dtype="bfloat16")
QWEN2_MOE = dict(BASE, model_type="qwen2_moe", architectures=["Qwen2MoeForCausalLM"], intermediate_size=192,
                 moe_intermediate_size=96, shared_expert_intermediate_size=160, num_attention_heads=4,
                 num_key_value_heads=2, num_experts=6, num_experts_per_tok=3, norm_topk_prob=False,
                 decoder_sparse_step=1, mlp_only_layers=[], qkv_bias=True, use_sliding_window=False,
                 sliding_window=32768, max_window_layers=21, rope_theta=1000000.0)
GRANITE_MOE = dict(BASE, model_type="granitemoe", architectures=["GraniteMoeForCausalLM"], intermediate_size=96,
                   num_attention_heads=4, num_key_value_heads=1, num_local_experts=6, num_experts_per_tok=3,
                   attention_bias=False, embedding_multiplier=3.0, attention_multiplier=0.125,
                   residual_multiplier=0.5, logits_scaling=2.0, rope_theta=10000.0,
                   rope_scaling=None, rms_norm_eps=1e-6)
GLM4_MOE = dict(BASE, model_type="glm4_moe", architectures=["Glm4MoeForCausalLM"], num_hidden_layers=5,
                intermediate_size=192, moe_intermediate_size=96, num_attention_heads=4, num_key_value_heads=1,
                head_dim=80, partial_rotary_factor=0.5, use_qk_norm=True, attention_bias=True, n_routed_experts=6,
                n_shared_experts=1, num_experts_per_tok=3, n_group=1, topk_group=1, norm_topk_prob=True,
                routed_scaling_factor=2.5, first_k_dense_replace=2, num_nextn_predict_layers=1, rms_norm_eps=1e-5,
                rope_theta=1000000.0, rope_scaling=None)
# Three key heads with two value heads each, whose lengths differ; full attention in one layer of five, with one KV head.
LINEAR = dict(num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=1, head_dim=64, attention_bias=False,
              full_attention_interval=4, linear_conv_kernel_dim=4, linear_key_head_dim=32, linear_value_head_dim=64,
              linear_num_key_heads=3, linear_num_value_heads=6)
QWEN35_ROPE = dict(mrope_interleaved=True, mrope_section=[3, 3, 2], partial_rotary_factor=0.25, rope_theta=10000000,
                   rope_type="default")
QWEN35_EXPERTS = dict(moe_intermediate_size=96, shared_expert_intermediate_size=160, num_experts=6, num_experts_per_tok=3)

LLAMA4 = dict(BASE, model_type="llama4_text", architectures=["Llama4ForCausalLM"], num_hidden_layers=5,
              intermediate_size=96, intermediate_size_mlp=160, num_attention_heads=6, num_key_value_heads=2, head_dim=48,
              num_local_experts=6, num_experts_per_tok=1, interleave_moe_layer_step=2, use_qk_norm=True,
              no_rope_layers=[], no_rope_layer_interval=4, attention_bias=False, rms_norm_eps=1e-5, rope_theta=500000.0,
              attn_temperature_tuning=True, rope_scaling=None)

# seed: chosen so that no expert or greedy token is chosen by a hair. gguf: llama.cpp's architecture. nextn: a layer for
# multi-token prediction stands behind the others. Prompts as in make_goldens.
MODELS = {
    "qwen2_moe": dict(seed=1, gguf="qwen2moe", config=QWEN2_MOE),
    "qwen2_moe_dense": dict(seed=1, config=dict(QWEN2_MOE, num_hidden_layers=4, decoder_sparse_step=2,
                                                mlp_only_layers=[1])),
    "qwen2": dict(seed=1, gguf="qwen2", config=dict(
        BASE, model_type="qwen2", architectures=["Qwen2ForCausalLM"], intermediate_size=768, num_attention_heads=6,
        num_key_value_heads=2, hidden_size=192, use_sliding_window=False, sliding_window=131072,
        max_window_layers=28, rope_theta=1000000.0, tie_word_embeddings=True,
        rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=64))),
    "qwen2_window": dict(seed=1, prompts=[1, 50, 300], config=dict(
        BASE, model_type="qwen2", architectures=["Qwen2ForCausalLM"], intermediate_size=192, num_attention_heads=4,
        num_key_value_heads=2, use_sliding_window=True, sliding_window=40, max_window_layers=1,
        rope_theta=1000000.0)),
    "qwen3": dict(seed=1, gguf="qwen3", config=dict(
        BASE, model_type="qwen3", architectures=["Qwen3ForCausalLM"], num_hidden_layers=5, intermediate_size=192,
        num_attention_heads=4, num_key_value_heads=1, head_dim=80, attention_bias=False, use_sliding_window=False,
        sliding_window=None, max_window_layers=36, tie_word_embeddings=True, rope_theta=1000000.0, rope_scaling=None)),
    "llama": dict(seed=1, gguf="llama", config=dict(
        BASE, model_type="llama", architectures=["LlamaForCausalLM"], intermediate_size=192, num_attention_heads=4,
        num_key_value_heads=2, attention_bias=False, mlp_bias=False, rms_norm_eps=1e-5, rope_theta=500000.0,
        rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                          original_max_position_embeddings=64))),
    "llama2": dict(seed=1, gguf="llama", config=dict(  # as Llama-2's config.json: no rope_theta
        BASE, model_type="llama", architectures=["LlamaForCausalLM"], intermediate_size=192, num_attention_heads=4,
        num_key_value_heads=4, pretraining_tp=1, rms_norm_eps=1e-5, rope_scaling=dict(type="linear", factor=2.0))),
    "mistral": dict(seed=1, prompts=[1, 50, 300], config=dict(
        BASE, model_type="mistral", architectures=["MistralForCausalLM"], intermediate_size=192,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=96, rms_norm_eps=1e-5, rope_theta=10000.0)),
    "mixtral": dict(seed=1, gguf="llama", config=dict(
        BASE, model_type="mixtral", architectures=["MixtralForCausalLM"], intermediate_size=96,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=6, num_experts_per_tok=3,
        rms_norm_eps=1e-5, sliding_window=None, rope_theta=1000000.0)),
    "olmoe": dict(seed=1, gguf="olmoe", config=dict(
        BASE, model_type="olmoe", architectures=["OlmoeForCausalLM"], intermediate_size=96, num_attention_heads=6,
        num_key_value_heads=2, hidden_size=192, num_experts=6, num_experts_per_tok=3, norm_topk_prob=False,
        attention_bias=False, clip_qkv=None, rms_norm_eps=1e-5, rope_theta=10000.0, rope_scaling=None)),
    "glm4_moe": dict(seed=1, gguf="glm4moe", nextn=1, config=GLM4_MOE),
    "glm4_moe_air": dict(seed=1, config=dict(GLM4_MOE, num_hidden_layers=3, use_qk_norm=False,
                                             first_k_dense_replace=1, num_nextn_predict_layers=0, n_shared_experts=2,
                                             routed_scaling_factor=1.0)),
    "glm4_moe_lite": dict(seed=1, gguf="deepseek2", config=dict(
        BASE, model_type="glm4_moe_lite", architectures=["Glm4MoeLiteForCausalLM"], intermediate_size=192,
        moe_intermediate_size=96, num_attention_heads=5, num_key_value_heads=5, q_lora_rank=48, kv_lora_rank=64,
        qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=64, n_routed_experts=6, n_shared_experts=1,
        num_experts_per_tok=3, n_group=1, topk_group=1, topk_method="noaux_tc", norm_topk_prob=True,
        routed_scaling_factor=1.8, first_k_dense_replace=1, num_nextn_predict_layers=0, attention_bias=False,
        rope_interleave=True, partial_rotary_factor=1.0, rope_theta=1000000, rope_scaling=None, rms_norm_eps=1e-5)),
    "minimax_m2": dict(seed=1, gguf="minimax-m2", config=dict(
        BASE, model_type="minimax_m2", architectures=["MiniMaxM2ForCausalLM"], intermediate_size=96,
        num_attention_heads=6, num_key_value_heads=2, head_dim=48, rotary_dim=24, num_local_experts=6,
        num_experts_per_tok=3, scoring_func="sigmoid", use_routing_bias=True, use_qk_norm=True,
        qk_norm_type="per_layer", shared_intermediate_size=0, use_mtp=True, num_mtp_modules=3, attn_type_list=[1, 1, 1],
        rope_theta=5000000)),
    "granitemoe": dict(seed=1, gguf="granitemoe", config=GRANITE_MOE),
    "granitemoeshared": dict(seed=1, gguf="granitemoe", config=dict(
        GRANITE_MOE, model_type="granitemoeshared", architectures=["GraniteMoeSharedForCausalLM"],
        shared_intermediate_size=160, num_key_value_heads=2, embedding_multiplier=12.0, residual_multiplier=0.22,
        logits_scaling=6.0, tie_word_embeddings=True)),
    "ernie4_5_moe": dict(seed=1, gguf="ernie4_5-moe", config=dict(
        BASE, model_type="ernie4_5_moe", architectures=["Ernie4_5_MoeForCausalLM"], intermediate_size=192,
        moe_intermediate_size=96, num_attention_heads=4, num_key_value_heads=1, moe_num_experts=6, moe_k=3,
        moe_num_shared_experts=2, moe_layer_start_index=1, moe_layer_end_index=2, moe_layer_interval=1,
        moe_norm_min=1e-12, use_bias=False, tie_word_embeddings=True, rope_theta=500000.0, rope_scaling=None,
        rms_norm_eps=1e-5)),
    "qwen3_next": dict(seed=1, gguf="qwen3next", prompts=[1, 17, 70, 300], config=dict(
        BASE, **LINEAR, model_type="qwen3_next", architectures=["Qwen3NextForCausalLM"], intermediate_size=192,
        moe_intermediate_size=96, shared_expert_intermediate_size=160, num_experts=6, num_experts_per_tok=3,
        norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], partial_rotary_factor=0.25, rope_scaling=None,
        rope_theta=10000000, use_sliding_window=False)),
    # The text model in the directory of a vision model, as published.
    "qwen3_5_moe": dict(seed=1, gguf="qwen35moe", prompts=[1, 17, 70, 300], vision=dict(
        model_type="qwen3_5_moe", architectures=["Qwen3_5MoeForConditionalGeneration"], image_token_id=500,
        tie_word_embeddings=False, vision_config=dict(
            model_type="qwen3_5_moe", depth=1, hidden_size=32, intermediate_size=32, num_heads=2, out_hidden_size=128,
            num_position_embeddings=16)), config=dict(
        BASE, **LINEAR, **QWEN35_EXPERTS, model_type="qwen3_5_moe_text", rope_parameters=QWEN35_ROPE,
        mtp_num_hidden_layers=1, layer_types=["linear_attention"] * 3 + ["full_attention", "linear_attention"])),
    # Four value heads a key head, and a text model by itself.
    "qwen3_5_moe_text": dict(seed=1, prompts=[1, 50, 130], config=dict(
        BASE, **dict(LINEAR, linear_num_key_heads=2, linear_num_value_heads=8, linear_value_head_dim=32,
                     num_hidden_layers=4, full_attention_interval=2), **QWEN35_EXPERTS,
        model_type="qwen3_5_moe_text", architectures=["Qwen3_5MoeForCausalLM"], rope_parameters=QWEN35_ROPE)),
    "qwen3_5": dict(seed=1, gguf="qwen35", prompts=[1, 17, 70], config=dict(
        BASE, **dict(LINEAR, linear_num_key_heads=2), intermediate_size=192, model_type="qwen3_5_text",
        architectures=["Qwen3_5ForCausalLM"], rope_parameters=QWEN35_ROPE, tie_word_embeddings=True)),
}
# Chunks of 48 positions have no whole pages of the cache, of 64 they do; a temperature that tells positions apart.
MODELS["llama4_chunk48"] = dict(seed=1, prompts=[1, 50, 300], config=dict(
    LLAMA4, attention_chunk_size=48, floor_scale=24, attn_scale=0.4, num_experts_per_tok=2, use_qk_norm=False,
    interleave_moe_layer_step=1, no_rope_layers=[1, 0, 1, 1, 0]))
MODELS["llama4_chunk64"] = dict(seed=1, prompts=[1, 64, 300], config=dict(
    LLAMA4, attention_chunk_size=64, floor_scale=32, attn_scale=0.4, rope_scaling=dict(
        rope_type="llama3", factor=16.0, low_freq_factor=1.0, high_freq_factor=1.0,
        original_max_position_embeddings=64)))
# As GGUF has it, where chunk and temperature have no key. 16 experts: with 128 llama.cpp takes Maverick's attention.
MODELS["llama4"] = dict(seed=1, gguf="llama4", config=dict(
    LLAMA4, num_local_experts=16, attention_chunk_size=8192, floor_scale=8192, attn_scale=0.1))
# Windows shorter than a prompt and no multiple of a page; one and two key-value heads; values shorter than keys.
MIMO2 = dict(BASE, model_type="mimo_v2_flash", architectures=["MiMoV2FlashForCausalLM"], num_hidden_layers=4,
             intermediate_size=160, moe_intermediate_size=96, num_attention_heads=6, num_key_value_heads=1,
             swa_num_key_value_heads=2, head_dim=96, v_head_dim=64, n_routed_experts=6, num_experts_per_tok=3,
             n_group=1, topk_group=1, norm_topk_prob=True, routed_scaling_factor=None, attention_bias=False,
             rms_norm_eps=1e-5, attention_value_scale=0.707, sliding_window=20,
             layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
             mlp_layer_types=["dense", "sparse", "sparse", "sparse"], rope_parameters=dict(
                 full_attention=dict(rope_type="default", rope_theta=5000000.0, partial_rotary_factor=0.334),
                 sliding_attention=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.334)))
MODELS["mimo_v2_flash"] = dict(seed=1, gguf="mimo2", prompts=[1, 50, 200], config=MIMO2)
# What no other has together: experts of 1280 columns, forty groups, which 3 and 24 ranks do not divide; five heads of 80 over
# one key-value head; biases.
MODELS["qwen3_moe_1280"] = dict(seed=1, gguf="qwen3moe", prompts=[1, 70], config=dict(
    BASE, model_type="qwen3_moe", architectures=["Qwen3MoeForCausalLM"], hidden_size=64, num_hidden_layers=5,
    vocab_size=128, intermediate_size=192, moe_intermediate_size=1280, num_attention_heads=5, num_key_value_heads=1,
    head_dim=80, num_experts=6, num_experts_per_tok=3, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[],
    attention_bias=True, use_sliding_window=False, sliding_window=None, rope_theta=1000000.0, rope_scaling=None))
TIED_GAIN = 4.0  # of what writes to the residual stream, or a model with tied embeddings repeats its input

# ------------------------------------------------------------------------------------------------ drawing


def draw(name, n):
    """The integers k of a tensor's first n elements."""
    h = 0xcbf29ce484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001b3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9e3779b97f4a7c15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
        z = z ^ (z >> np.uint64(31))
    return sum(((z >> np.uint64(8 * b)) & np.uint64(63)).astype(np.int64) for b in range(4)) - 126


def spread(name, shape, tied):
    """Standard deviation that keeps activations near unit variance, routers decided and logits well spread."""
    root = math.sqrt(shape[-1])
    if "correction_bias" in name:
        return 0.05
    if name.endswith("A_log"):
        return 2.0  # some heads forget at once, some hardly
    if name.endswith(("dt_bias", "sink_bias")):
        return 1.0
    if name.endswith("bias"):
        return 0.2
    if "embed_tokens" in name and not tied:
        return 1.0
    if "embed_tokens" in name or "lm_head" in name:
        return 2.5 / root
    if re.search(r"feed_forward\.experts\.(gate_up|down)_proj$", name):  # Llama 4: [experts, inputs, outputs]
        return 1.0 / math.sqrt(shape[-2])
    if re.search(r"\.(gate|router|router\.layer)\.weight$", name) or re.search(r"q(_b)?_proj", name):
        return 2.0 / root
    if tied and re.search(r"(o_proj|out_proj|down_proj|output_linear)", name):
        return TIED_GAIN / root
    return 1.0 / root


def less_one(name, model_type):
    """Norms that are stored less one."""
    return model_type.startswith(("qwen3_next", "qwen3_5")) and name.endswith("norm.weight") and \
        not name.endswith("linear_attn.norm.weight")


def recipe(name, tensor, seed, tied, model_type):
    shape = list(tensor.shape)
    f32 = "correction_bias" in name or (name.endswith("A_log") and model_type != "qwen3_next")
    entry = dict(name=name, shape=shape, dtype="F32" if f32 else "BF16", key=f"{seed}:{name}")
    if less_one(name, model_type):
        entry["exponent"] = -8
    elif "norm" not in name:
        entry["exponent"] = round(math.log2(spread(name, shape, tied) / 36.9))
    return entry


def values(entry):
    k = draw(entry["key"], math.prod(entry["shape"]))
    v = k * 2.0 ** entry["exponent"] if "exponent" in entry else 1 + (k >> 2) * 2.0**-7
    return torch.from_numpy(v.astype(np.float32)).reshape(entry["shape"])


def published_tensors(config_dir):
    """Names and shapes of the checkpoint as the model is published."""
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config_dir), dtype=torch.float32)
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp, max_shard_size="10GB")
        from safetensors.torch import load_file
        return load_file(Path(tmp) / "model.safetensors")


def nextn_tensors(tensors, layers):
    """A further layer like the last one, with the tensors that join it to the model."""
    last, new = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
    more = {new + n[len(last):]: t for n, t in tensors.items() if n.startswith(last)}
    hidden = tensors["model.norm.weight"].shape[0]
    more.update({new + "enorm.weight": torch.empty(hidden), new + "hnorm.weight": torch.empty(hidden),
                 new + "eh_proj.weight": torch.empty(hidden, 2 * hidden),
                 new + "shared_head.norm.weight": torch.empty(hidden)})
    return more


def mtp_tensors(hidden):
    """Some of the tensors for multi-token prediction as Qwen publishes them."""
    return {"mtp.fc.weight": torch.empty(hidden, 2 * hidden), "mtp.norm.weight": torch.empty(hidden),
            "mtp.pre_fc_norm_hidden.weight": torch.empty(hidden),
            "mtp.layers.0.input_layernorm.weight": torch.empty(hidden)}


def as_vision_model(tensors):
    """Names as in the directory of a vision model, an expert's matrices put together, and a few of the encoder's tensors."""
    out, experts = {}, {}
    for name, t in tensors.items():
        new = name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name
        one = re.match(r"(.*mlp\.experts)\.\d+\.(gate|down)_proj", new)
        if one:
            experts.setdefault((one[1], one[2]), []).append(t)
        elif not re.search(r"experts\.\d+\.up_proj", new):
            out[new] = t
    for (stem, which), parts in experts.items():
        shape = [len(parts), parts[0].shape[0] * (2 if which == "gate" else 1), parts[0].shape[1]]
        out[f"{stem}.{'gate_up' if which == 'gate' else 'down'}_proj"] = torch.empty(shape)
    out["model.visual.merger.norm.weight"] = torch.empty(32)
    out["model.visual.blocks.0.attn.qkv.bias"] = torch.empty(96)
    return out

# ------------------------------------------------------------------------------------------------ GGUF


class Recorder(gguf.GGUFWriter):
    """Keeps the metadata that the writer's own functions add."""

    def __init__(self, arch):
        super().__init__(None, arch)

    def metadata(self):
        out = []
        for key, value in self.kv_data[0].items():
            kind, lists = value.type, value.type == gguf.GGUFValueType.ARRAY
            if lists:
                kind = gguf.GGUFValueType.BOOL if isinstance(value.value[0], bool) else gguf.GGUFValueType.INT32
            assert kind in (gguf.GGUFValueType.STRING, gguf.GGUFValueType.UINT32, gguf.GGUFValueType.FLOAT32,
                            gguf.GGUFValueType.BOOL, gguf.GGUFValueType.INT32), (key, kind)
            out.append([key, kind.name + ("[]" if lists else ""), value.value])
        return out


def metadata(c, arch, nextn):
    w = Recorder(arch)
    w.add_name("drawn")
    w.add_block_count(c["num_hidden_layers"] + nextn)
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    if "intermediate_size" in c and arch != "llama4":
        w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    rotation = {**c, **(c.get("rope_parameters") or {})}
    if arch != "mimo2":
        w.add_rope_freq_base(rotation.get("rope_theta", 10000.0))
    w.add_vocab_size(c["vocab_size"])
    mla = "kv_lora_rank" in c
    if arch != "mimo2":
        w.add_head_count_kv(1 if mla else c["num_key_value_heads"])
    head = c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])
    if mla:
        w.add_q_lora_rank(c["q_lora_rank"])
        w.add_kv_lora_rank(c["kv_lora_rank"])
        w.add_key_length(c["kv_lora_rank"] + c["qk_rope_head_dim"])
        w.add_value_length(c["kv_lora_rank"])
        w.add_key_length_mla(c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
        w.add_value_length_mla(c["v_head_dim"])
        w.add_rope_dimension_count(c["qk_rope_head_dim"])
    else:
        if "head_dim" in c:
            w.add_key_length(head)
            w.add_value_length(c.get("v_head_dim", head))
        share = rotation.get("full_attention", rotation).get("partial_rotary_factor", 1)
        w.add_rope_dimension_count(c.get("rotary_dim", int(head * share)))
    rope = c.get("rope_scaling") or {}
    if rope.get("type") == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope.get("type") == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    experts = next((c[k] for k in ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
                    if k in c), 0)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(c.get("num_experts_per_tok", c.get("moe_k")))
        if "moe_intermediate_size" in c:
            w.add_expert_feed_forward_length(c["moe_intermediate_size"])
    if "linear_num_key_heads" in c:
        w.add_ssm_conv_kernel(c["linear_conv_kernel_dim"])
        w.add_ssm_state_size(c["linear_key_head_dim"])
        w.add_ssm_group_count(c["linear_num_key_heads"])
        w.add_ssm_time_step_rank(c["linear_num_value_heads"])
        w.add_ssm_inner_size(c["linear_value_head_dim"] * c["linear_num_value_heads"])
        w.add_full_attention_interval(c["full_attention_interval"])
    if arch in ("qwen2moe", "qwen3next", "qwen35moe"):
        w.add_expert_shared_feed_forward_length(c["shared_expert_intermediate_size"])
    if arch == "granitemoe":
        w.add_attention_scale(c["attention_multiplier"])
        w.add_embedding_scale(c["embedding_multiplier"])
        w.add_residual_scale(c["residual_multiplier"])
        w.add_logit_scale(c["logits_scaling"])
        if c.get("shared_intermediate_size"):
            w.add_expert_shared_feed_forward_length(c["shared_intermediate_size"])
    if arch == "mimo2":
        sliding = [kind == "sliding_attention" for kind in c["layer_types"]]
        w.add_head_count_kv([c["swa_num_key_value_heads" if s else "num_key_value_heads"] for s in sliding])
        w.add_sliding_window(c["sliding_window"])
        w.add_sliding_window_pattern(sliding)
        w.add_rope_freq_base(c["rope_parameters"]["full_attention"]["rope_theta"])
        w.add_float32("mimo2.rope.freq_base_swa", c["rope_parameters"]["sliding_attention"]["rope_theta"])
        w.add_float32("mimo2.attention.value_scale", c["attention_value_scale"])
    if arch == "llama4":
        w.add_feed_forward_length(c["intermediate_size_mlp"])
        w.add_expert_feed_forward_length(c["intermediate_size"])
        w.add_interleave_moe_layer_step(c["interleave_moe_layer_step"])
    if arch == "minimax-m2":
        w.add_expert_feed_forward_length(c["intermediate_size"])
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if arch == "ernie4_5-moe":
        w.add_leading_dense_block_count(c["moe_layer_start_index"])
        w.add_interleave_moe_layer_step(c["moe_layer_interval"])
        w.add_expert_shared_count(c["moe_num_shared_experts"])
    if arch in ("glm4moe", "deepseek2"):
        w.add_leading_dense_block_count(c["first_k_dense_replace"])
        w.add_expert_shared_count(c["n_shared_experts"])
        w.add_expert_weights_scale(c["routed_scaling_factor"])
        w.add_expert_weights_norm(c["norm_topk_prob"])
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if nextn:
        w.add_nextn_predict_layers(nextn)
    return w.metadata()


def llama3_factors(c):
    """What llama.cpp's converter writes as rope_freqs.weight."""
    r, dim = c["rope_scaling"], c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])
    factors = []
    for i in range(0, dim, 2):
        wavelength = 2 * math.pi * c["rope_theta"] ** (i / dim)
        low = r["original_max_position_embeddings"] / r["low_freq_factor"]
        high = r["original_max_position_embeddings"] / r["high_freq_factor"]
        if wavelength < high:
            factors.append(1.0)
        elif wavelength > low:
            factors.append(r["factor"])
        else:
            smooth = (r["original_max_position_embeddings"] / wavelength - r["low_freq_factor"]) / (
                r["high_freq_factor"] - r["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / r["factor"] + smooth))
    return factors


def linear_tensors(c, arch, name, shape):
    """Of a layer of linear attention: value heads of qwen35 and qwen35moe are put in the order of ggml's broadcasts."""
    layer = re.search(r"layers\.(\d+)", name)[1]
    keys, values = c["linear_num_key_heads"], c["linear_num_value_heads"]
    dk, dv, per_key = c["linear_key_head_dim"], c["linear_value_head_dim"], values // keys
    order = list(range(values)) if arch == "qwen3next" else [h * per_key + j for j in range(per_key) for h in range(keys)]
    qk, tile = [[name, 0, 2 * keys * dk]], [keys, per_key] if arch != "qwen3next" else None

    def tensor(new, type, shape, parts, **more):
        return dict(name=f"blk.{layer}.{new}", type=type, shape=shape, parts=parts, heads=0, **more)

    def heads_from(first, width):
        return [[name, first + h * width, width] for h in order]

    which = name.split("linear_attn.")[1]
    if which == "in_proj_qkvz.weight":
        stride, v = 2 * dk + 2 * per_key * dv, per_key * dv
        rows = [[[name, h * stride + first, count] for h in range(keys)]
                for first, count in ((0, dk), (dk, dk), (2 * dk, v), (2 * dk + v, v))]
        return [tensor("attn_qkv.weight", "F16", [2 * keys * dk + values * dv, shape[1]], rows[0] + rows[1] + rows[2]),
                tensor("attn_gate.weight", "F16", [values * dv, shape[1]], rows[3])]
    if which == "in_proj_qkv.weight":
        return [tensor("attn_qkv.weight", "F16", shape, qk + heads_from(2 * keys * dk, dv))]
    if which == "conv1d.weight":
        return [tensor("ssm_conv1d.weight", "F32", [shape[0], shape[2]], qk + heads_from(2 * keys * dk, dv))]
    if which == "out_proj.weight":
        return [tensor("ssm_out.weight", "F16", shape, [[name, 0, shape[0]]], **({"tile": [*tile, dv]} if tile else {}))]
    if which in ("A_log", "dt_bias"):
        more = {"tile": [*tile, 1]} if tile else {}
        return [tensor("ssm_a", "F32", shape, [[name, 0, 1]], change="minus_exp", **more) if which == "A_log" else
                tensor("ssm_dt.bias", "F32", shape, [[name, 0, 1]], **more)]
    new = {"in_proj_z.weight": ("attn_gate.weight", heads_from(0, dv)), "in_proj_a.weight": ("ssm_alpha.weight", heads_from(0, 1)),
           "in_proj_b.weight": ("ssm_beta.weight", heads_from(0, 1)), "in_proj_ba.weight": ("ssm_ba.weight", [[name, 0, shape[0]]]),
           "norm.weight": ("ssm_norm.weight", [[name, 0, 1]])}[which]
    return [tensor(new[0], "F32" if which == "norm.weight" else "F16", shape, new[1])]


def gguf_tensors(c, arch, recipes, nextn):
    """[{name, type, dims, parts: [[tensor, first row, rows, first column?, columns?]], heads}]: heads: the rows' halves are
    interleaved per head; transposed: each part is; tile [a, b, n]: of each row the a * b blocks of n elements are transposed
    as a matrix; change: as its name says."""
    enum = next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == arch)
    names = gguf.get_tensor_name_map(enum, c["num_hidden_layers"] + nextn)
    stacked, out = {}, []

    def put(hf_name, entry, parts, shape, heads=0):
        hf_name = hf_name.replace("language_model.", "")
        stem, suffix = hf_name.rsplit(".", 1)
        if suffix == "e_score_correction_bias":
            stem, suffix = hf_name[:-len("_bias")], "bias"
        name = names.get_name(stem)
        if suffix == "attention_sink_bias":
            name, suffix = f"blk.{re.search(r'layers[.]([0-9]+)', stem)[1]}.attn_sinks", "weight"
        assert name, hf_name
        vector = len(shape) == 1 or ("ffn_gate_inp" in name)
        out.append(dict(name=f"{name}.{suffix}", type="F32" if vector else "F16", shape=shape, parts=parts, heads=heads))

    for e in recipes:
        name, shape = e["name"], e["shape"]
        if name.startswith(("mtp.", "model.visual.")):
            continue
        one = re.search(r"experts\.(\d+)\.", name)
        if one:
            stacked.setdefault(name.replace(f"experts.{one[1]}.", "experts."), []).append(e)
        elif name.endswith("_mlp.input_linear.weight") or name.endswith("moe.input_linear.weight"):
            rows = shape[-2] // 2
            at, shared = name.rsplit(".", 3)[0], "shared_mlp" in name
            for n, part in enumerate(("gate", "up")):
                hf = f"{at}.shared_mlp.{part}" if shared else f"{at}.block_sparse_moe.input_linear.{part}"
                count = 1 if shared else shape[0]
                parts = [[name, i * 2 * rows + n * rows, rows] for i in range(count)]
                layer = re.search(r"layers\.(\d+)", at)[1]
                gguf_name = f"blk.{layer}.ffn_{part}_" + ("shexp" if shared else "exps") + ".weight"
                out.append(dict(name=gguf_name, type="F16", shape=[rows, shape[-1]] if shared else
                                [count, rows, shape[-1]], parts=parts, heads=0))
        elif ".mlp.experts." in name:  # Qwen3.5
            layer, rows = re.search(r"layers\.(\d+)", name)[1], shape[1] // 2
            parts = [("gate", 0), ("up", rows)] if "gate_up" in name else [("down", 0)]
            for part, first in parts:
                count = rows if "gate_up" in name else shape[1]
                out.append(dict(name=f"blk.{layer}.ffn_{part}_exps.weight", type="F16", shape=[shape[0], count, shape[2]],
                                parts=[[name, i * shape[1] + first, count] for i in range(shape[0])], heads=0))
        elif "linear_attn." in name:
            out += linear_tensors(c, arch, name, shape)
        elif re.search(r"feed_forward\.experts\.(gate_up|down)_proj$", name):
            count, inputs, outputs = shape
            layer, gate_up = re.search(r"layers\.(\d+)", name)[1], "gate_up" in name
            width = outputs // 2 if gate_up else outputs
            for n, part in enumerate(("gate", "up") if gate_up else ("down",)):
                out.append(dict(name=f"blk.{layer}.ffn_{part}_exps.weight", type="F16", shape=[count, width, inputs],
                                parts=[[name, i * inputs, inputs, n * width, width] for i in range(count)], heads=0,
                                transposed=True))
        elif name.endswith("kv_b_proj.weight"):
            heads, nope, v = c["num_attention_heads"], c["qk_nope_head_dim"], c["v_head_dim"]
            layer = re.search(r"layers\.(\d+)", name)[1]
            out.append(dict(name=f"blk.{layer}.attn_k_b.weight", type="F16", shape=[heads, shape[1], nope],
                            parts=[[name, h * (nope + v), nope] for h in range(heads)], heads=0, transposed=True))
            out.append(dict(name=f"blk.{layer}.attn_v_b.weight", type="F16", shape=[heads, v, shape[1]],
                            parts=[[name, h * (nope + v) + nope, v] for h in range(heads)], heads=0))
        else:
            rows = math.prod(shape[:-1]) if len(shape) > 1 else 1
            heads = 0
            if arch in ("llama", "granitemoe") and re.search(r"self_attn\.(q|k)_proj", name):
                heads = c["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            squeezed = shape[1:] if len(shape) == 2 and shape[0] == 1 else shape
            put(name, e, [[name, 0, rows]], squeezed, heads)
            if less_one(name, c["model_type"]):
                out[-1]["change"] = "plus_one"
    for name, entries in stacked.items():
        entries.sort(key=lambda e: int(re.search(r"experts\.(\d+)\.", e["name"])[1]))
        shape = entries[0]["shape"]
        put(name, entries[0], [[e["name"], 0, shape[0]] for e in entries], [len(entries)] + shape)
    if (c.get("rope_scaling") or {}).get("rope_type") == "llama3":
        factors = llama3_factors(c)
        out.append(dict(name="rope_freqs.weight", type="F32", shape=[len(factors)], values=factors))
    return out

# ------------------------------------------------------------------------------------------------ making


def make(name, spec, root):
    out = root / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    c = spec["config"]
    config = dict(spec["vision"], text_config=c) if "vision" in spec else c
    (out / "config.json").write_text(json.dumps(config) + "\n")
    published = published_tensors(out)
    if "nextn" in spec:
        published.update(nextn_tensors(published, c["num_hidden_layers"]))
    if "mtp_num_hidden_layers" in c or c["model_type"] == "qwen3_next":
        published.update(mtp_tensors(c["hidden_size"]))
    if "vision" in spec:
        published = as_vision_model(published)
    recipes = [recipe(n, t, spec["seed"], c["tie_word_embeddings"], c["model_type"]) for n, t in sorted(published.items())]
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        (tmp / "config.json").write_text(json.dumps(config))
        save_file({e["name"]: values(e).to(torch.float32 if e["dtype"] == "F32" else torch.bfloat16) for e in recipes},
                  tmp / "model.safetensors", metadata=dict(format="pt"))
        facts, tensors = make_goldens.run(tmp, spec)
    (out / "golden.json").write_text(json.dumps(dict(model=name, seed=spec["seed"], **facts)) + "\n")
    save_file({k: t[-2:].contiguous() if k.startswith("logits") else t.contiguous() for k, t in tensors.items()
               if not k.startswith("router")}, out / "golden.safetensors")
    (out / "golden.safetensors").chmod(0o644)
    (out / "drawn.json").write_text(json.dumps(recipes) + "\n")
    if "gguf" in spec:
        nextn = spec.get("nextn", 0)
        (out / "gguf.json").write_text(json.dumps(dict(
            metadata=metadata(c, spec["gguf"], nextn), tensors=gguf_tensors(c, spec["gguf"], recipes, nextn))) + "\n")
    return facts


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("out", type=Path)
    args.add_argument("--only", nargs="+")
    args = args.parse_args()
    for name, spec in MODELS.items():
        if args.only and name not in args.only:
            continue
        facts = make(name, spec, args.out)
        routing = facts["routing"] or {}
        print(name, dict(margin=routing.get("min_margin"), gap=facts["min_greedy_gap"], **facts["tolerance"]), flush=True)


if __name__ == "__main__":
    main()
