"""The models that make_drawn.py draws: one or two of each family, small, each with what no other has."""

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
# As published, with as many key-value heads as query heads and scoring_func's own name; and what the class can do beyond: a
# window in the upper layers, groups, biases of attention.
DOTS1 = dict(BASE, model_type="dots1", architectures=["Dots1ForCausalLM"], num_hidden_layers=4, intermediate_size=192,
             moe_intermediate_size=96, num_attention_heads=3, num_key_value_heads=3, head_dim=48, n_routed_experts=6,
             n_shared_experts=2, num_experts_per_tok=3, n_group=1, topk_group=1, norm_topk_prob=True,
             routed_scaling_factor=2.5, first_k_dense_replace=1, attention_bias=False, scoring_func="noaux_tc",
             sliding_window=None, max_window_layers=62, rms_norm_eps=1e-5, rope_theta=10000000, rope_scaling=None)
MODELS["dots1"] = dict(seed=2, gguf="dots1", config=DOTS1)
MODELS["dots1_window"] = dict(seed=2, prompts=[1, 70, 130], config=dict(
    DOTS1, num_attention_heads=4, num_key_value_heads=1, n_shared_experts=1, norm_topk_prob=False, first_k_dense_replace=0,
    routed_scaling_factor=1.0, attention_bias=True, sliding_window=20, max_window_layers=2))


def less_one(name, model_type):
    """Norms that are stored less one."""
    return model_type.startswith(("qwen3_next", "qwen3_5")) and name.endswith("norm.weight") and \
        not name.endswith("linear_attn.norm.weight")
