"""What llama.cpp's converter makes of a model of drawn_models.py: the metadata, and from which rows of which tensors of the
Hugging Face directory each tensor of the GGUF file comes. For make_drawn.py."""
import math
import re

import gguf

from drawn_models import less_one


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
    if arch in ("glm4moe", "deepseek2", "dots1"):
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
