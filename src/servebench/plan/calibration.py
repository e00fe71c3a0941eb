"""Calibration to one published speed: it solves one parameter, the latency floor of a layer (tau).

    1 / v = t_step / a, and t_step is affine in tau:  tau = (a/v - t_0) / (L + m),  t_0 = t_step at tau = 0

tau, accepted tokens and GPU count are degenerate in one number, so a profile stores which was solved and the
operating point it was solved at. Measured on public stacks: 48-105 us a layer, so 30..150 us is believed.
"""

from dataclasses import replace

from servebench.catalog.hardware import Gpu
from servebench.catalog.tiers import ModelShape, OperatingPoint, ServingProfile
from servebench.engine.step_time import StepTimeModel

LAYER_LATENCY_RANGE_S = (30e-6, 150e-6)


class CalibrationError(ValueError):
    """The published speed can't be met by a believable latency per layer: the profile itself is wrong."""


def solve_layer_latency(shape: ModelShape, serving: ServingProfile, gpu: Gpu, point: OperatingPoint) -> float:
    """tau in seconds, at which a steady batch of point.batch sequences of point.context_tokens runs at
    point.tokens_per_s per user. Raises CalibrationError outside 30..150 us."""
    model = StepTimeModel(shape, replace(serving, layer_latency_s=0.0), gpu)
    rest_s = model.step(point.batch, point.batch * point.context_tokens).total_s
    tau_s = (serving.accepted_tokens / point.tokens_per_s - rest_s) / (shape.layers + serving.draft_tokens)
    low_s, high_s = LAYER_LATENCY_RANGE_S
    if not low_s <= tau_s <= high_s:
        raise CalibrationError(
            f"{point.tokens_per_s:g} tokens/s at {point.batch} x {point.context_tokens} tokens needs "
            f"{tau_s * 1e6:.0f} us per layer, outside {low_s * 1e6:.0f}..{high_s * 1e6:.0f} us: "
            "change the GPU count, the accepted tokens or the operating point"
        )
    return tau_s
