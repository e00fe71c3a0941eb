"""The formula against numbers worked out by hand."""

import math
from dataclasses import replace

import pytest

from servebench.catalog.load import load_catalog
from servebench.engine.roofline import peak_flops
from servebench.engine.step_time import StepTimeModel
from tests.engine.step_models import model_of


def test_parts_by_hand() -> None:
    model = model_of("grok-4.3")
    shape, serving, gpu = model.shape, model.serving, model.gpu
    parts = model.step(32, 32 * 64_000)
    touched = 1 - (1 - shape.experts_active / 256) ** (32 * serving.routing_spread)
    read_s = 8 * gpu.hbm_bytes_per_s * serving.hbm_efficiency
    dense_s = shape.params_non_expert / read_s
    expert_s = 1.2 * shape.params_expert * touched * 0.5625 / read_s
    width = shape.hidden / 8**0.5
    dense_flop_s = 2 * shape.params_non_expert * 32 / (8 * 4.5e15 * serving.mfu * width / (width + 256))
    routed = shape.params_expert * shape.experts_active / shape.experts
    assert gpu.flops_fp4 is not None
    expert_flop_s = 1.2 * 2 * routed * 32 / (8 * gpu.flops_fp4 * serving.mfu_expert)
    knee = (dense_s**4 + dense_flop_s**4) ** 0.25 + (expert_s**4 + expert_flop_s**4) ** 0.25
    assert parts.linear_s == pytest.approx(knee, rel=1e-9)
    kv_s = 8_000 * 32 * 64_000 / (8 * gpu.hbm_bytes_per_s * serving.kv_efficiency)
    flop_s = 2.0e6 * 32 * 64_000 / (8 * gpu.flops_bf16 * serving.mfu_attention)
    assert parts.attention_decode_s == pytest.approx(max(kv_s, flop_s))
    assert parts.communication_s == pytest.approx(
        61 * (32 / 8) * min(shape.experts_active, 8) * 6144 * 3 / (0.8 * gpu.nvlink_bytes_per_s)
    )
    assert parts.layers_s == pytest.approx(61 * serving.layer_latency_s)
    assert parts.overhead_s == serving.step_overhead_s
    assert parts.sequences_s == pytest.approx(32 * serving.sequence_overhead_s)
    assert parts[4:9] == (0, 0, 0, 0, 0)
    assert parts.draft_s == 0
    assert parts.total_s == pytest.approx(math.fsum(parts))


def test_a_step_with_prompts_by_hand() -> None:
    model = model_of("grok-4.3")
    serving = model.serving
    alone = model.step(16, 16 * 1_000)
    parts = model.step(16, 16 * 1_000, prefill_tokens=4_096, prefill_pairs=4_096 * 2_048)
    assert parts[:4] == alone[:4]
    assert parts.prefill_linear_s == pytest.approx(model.linear_s(4_096))
    assert parts.attention_prefill_s == pytest.approx(
        0.8e6 * 4_096 * 2_048 / (8 * 2.25e15 * serving.mfu_attention)
    )
    assert parts.prefill_communication_s == pytest.approx(parts.communication_s * 4_096 / 16)
    assert parts.prefill_launch_s == pytest.approx(61 * serving.prefill_layer_latency_s)
    assert parts.overlap_s == pytest.approx(-serving.overlap * sum(alone[:4]))  # decode is the shorter


def test_drafts_multiply_tokens_and_add_their_passes() -> None:
    plain, drafting = model_of("grok-4.3"), model_of("grok-4.3", draft_tokens=3, accepted_tokens=2.0)
    parts = drafting.step(8, 8_000)
    assert parts.linear_s == pytest.approx(plain.linear_s(32))
    assert parts.draft_s == pytest.approx(3 * (plain.serving.layer_latency_s + parts.linear_s / 61))
    assert parts.communication_s == pytest.approx(4 * plain.step(8, 8_000).communication_s)


def test_window_layers_read_no_more_than_their_window() -> None:
    """Three layers of four with a window of 4,096: as full attention below it, a constant beyond."""
    full = model_of("grok-4.3")
    shape = replace(
        full.shape,
        kv_bytes_per_token=full.shape.kv_bytes_per_token / 4,
        window_tokens=4_096,
        window_kv_bytes_per_token=full.shape.kv_bytes_per_token * 3 / 4,
    )
    flop_free = replace(full.serving, mfu_attention=1.0)  # so that bytes bind
    hybrid = StepTimeModel(shape, flop_free, full.gpu)

    def read_s(context: int) -> float:
        return hybrid.step(8, 8 * context).attention_decode_s

    rate = hybrid.costs.context_s, hybrid.costs.window_s
    assert read_s(1_000) == pytest.approx(8 * 1_000 * sum(rate))
    assert read_s(4_096) == pytest.approx(8 * 4_096 * sum(rate))
    assert read_s(20_000) == pytest.approx(8 * (20_000 * rate[0] + 4_096 * rate[1]))
    assert hybrid.kv_pool_tokens() > 3.9 * full.kv_pool_tokens() * (1 - 0.1)
    held = full.serving.max_num_seqs * 4_096 * shape.window_kv_bytes_per_token
    assert hybrid.kv_pool_tokens() == pytest.approx(
        4 * full.kv_pool_tokens() - held / shape.kv_bytes_per_token, rel=1e-6
    )


def test_recurrent_states_are_read_and_written_once_a_step() -> None:
    plain = model_of("grok-4.3")
    linear = StepTimeModel(replace(plain.shape, state_bytes=50e6), plain.serving, plain.gpu)
    more_s = linear.step(16, 16_000).sequences_s - plain.step(16, 16_000).sequences_s
    rate = 8 * plain.gpu.hbm_bytes_per_s * plain.serving.hbm_efficiency
    assert more_s == pytest.approx(16 * 2 * 50e6 / rate)


def test_a_decode_step_is_affine_in_its_context() -> None:
    model = model_of("grok-5-mid")
    at = [model.step(20, context).total_s for context in (0, 50_000, 100_000)]
    assert at[1] - at[0] == pytest.approx(at[2] - at[1], rel=1e-9)


def test_tensor_parallel_communication_and_dense_models() -> None:
    model = model_of("grok-4.3", communication="tp")
    expected_s = 4 * 61 * 10 * 6144 * (7 / 8) * 2 / (0.4 * model.gpu.nvlink_bytes_per_s)
    assert model.step(10, 1_000).communication_s == pytest.approx(expected_s)
    dense = replace(model.shape, params_total=70e9, params_non_expert=70e9, experts=0, experts_active=0.0)
    dense_model = StepTimeModel(dense, model.serving, model.gpu)
    assert dense_model.experts_touched(5) == 0
    bandwidth = 8 * model.gpu.hbm_bytes_per_s * model.serving.hbm_efficiency
    assert dense_model.linear_s(1) == pytest.approx(70e9 / bandwidth)
    with pytest.raises(ValueError, match="communication"):
        model_of("grok-4.3", communication="smoke")


def test_beyond_one_nvlink_domain_experts_are_reached_over_the_network() -> None:
    inside, across = model_of("grok-4.3", gpus=8), model_of("grok-4.3", gpus=16, kv_shards=16)
    per_gpu = [model.step(16 * model.serving.gpus, 0).communication_s for model in (inside, across)]
    slower = inside.gpu.nvlink_bytes_per_s / inside.gpu.scaleout_bytes_per_s
    reached = [min(model.shape.experts_active, model.serving.gpus) for model in (inside, across)]
    assert per_gpu[1] / per_gpu[0] == pytest.approx(slower * reached[1] / reached[0])


def test_peak_follows_the_width_of_a_parameter() -> None:
    gpu = load_catalog().gpu("b300")
    assert peak_flops(gpu, 2.0) == gpu.flops_bf16
    assert peak_flops(gpu, 1.0) == gpu.flops_fp8
    assert peak_flops(gpu, 0.5625) == gpu.flops_fp4
    assert peak_flops(replace(gpu, flops_fp4=None), 0.5625) == gpu.flops_fp8
    assert peak_flops(replace(gpu, flops_fp4=None), 0.53125) == gpu.flops_bf16  # MXFP4 expands to bf16


def test_the_kv_pool_is_what_weights_leave() -> None:
    model = model_of("grok-4.3")
    free = 8 * (0.9 * model.gpu.memory_bytes - 4e9) - model.shape.weight_bytes
    assert model.kv_pool_tokens() == int(free / 8_000)
    replicated = model_of("grok-4.3", kv_shards=1)
    assert replicated.kv_pool_tokens() == pytest.approx(model.kv_pool_tokens() / 8, abs=1)
    assert model_of("grok-4.3", gpus=1).kv_pool_tokens() == 0
