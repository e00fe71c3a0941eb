"""`servebench calibrate --published`: what it solves, refuses, prints and writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from servebench.catalog.load import load_catalog
from servebench.catalog.profile import with_profiles
from servebench.catalog.provenance import Kind
from servebench.cli import cli
from servebench.engine.step_time import StepTimeModel
from servebench.errors import ServebenchError


def answer(*flags: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["calibrate", "--published", "--json", *flags], catch_exceptions=False)
    assert result.exit_code == 0
    found: dict[str, Any] = json.loads(result.output)
    return found


def refusal(*flags: str) -> str:
    result = CliRunner().invoke(cli, ["calibrate", *flags])
    assert isinstance(result.exception, ServebenchError)
    return str(result.exception)


def test_the_published_100_tokens_per_s_give_the_catalogs_own_profile() -> None:
    tier = load_catalog().tier("grok-4.3")
    found = answer()
    assert found["solved"] == "layer_latency_s"
    assert found["layer_latency_us"] == pytest.approx(tier.serving.layer_latency_s * 1e6, abs=1e-3)
    assert found["gpus"] == tier.serving.gpus == 8
    assert [(a["gpus"], a["accepted"]) for a in found["attempts"]] == [(4, False), (8, True)]
    assert sum(found["step_parts_us"].values()) == pytest.approx(10_000, rel=1e-4)  # 1/100 s
    assert "params_active" in found["kinds"]["MODELLED"]
    assert "layer_latency_s" in found["kinds"]["derived"]


@pytest.mark.parametrize(
    ("flags", "tier_id", "speed"),
    [
        (("--speed", "80", "--tier", "grok-5-large"), "grok-5-large", 80.0),
        (("--drafts", "3", "--accepted", "1.5"), "grok-4.3", 100.0),
        (("--speed", "150", "--batch", "4", "--context", "8000", "--contexts", "0"), "grok-4.3", 150.0),
    ],
)
def test_the_written_profile_runs_at_the_speed(
    flags: tuple[str, ...], tier_id: str, speed: float, tmp_path: Path
) -> None:
    path = tmp_path / "profile.yaml"
    found = answer(*flags, "--out", str(path), "--source", "a press release")
    catalog, ids = with_profiles(load_catalog(), [path])
    assert ids == [tier_id]
    tier = catalog.tier(tier_id)
    point = tier.operating_point
    assert point is not None
    model = StepTimeModel(tier.shape, tier.serving, catalog.gpu(tier.serving.gpu_id))
    assert model.tokens_per_s_per_user(point.batch, point.context_tokens) == pytest.approx(speed, rel=1e-4)
    assert tier.serving.layer_latency_s * 1e6 == pytest.approx(found["layer_latency_us"], abs=1e-3)
    assert (tier.sources["operating_point"].kind, tier.sources["operating_point"].source) == (
        Kind.PUBLISHED,
        "a press release",
    )
    assert tier.sources["layer_latency_s"].kind is Kind.DERIVED


def test_the_fewest_gpus_that_hold_the_contexts_are_taken() -> None:
    few, many = answer("--contexts", "8"), answer("--contexts", "300", "--speed", "120")
    assert few["attempts"][0]["contexts_1m"] == 91
    assert many["gpus"] == 16
    assert [a["layer_latency_us"] is None for a in many["attempts"]] == [True, True, False]


def test_what_cannot_be_is_refused_with_what_to_change() -> None:
    text = refusal("--published", "--speed", "900")
    assert "72 x B300 would need" in text
    assert "change the GPU count, the accepted tokens or the operating point" in text
    assert "8 x B300 hold 219 contexts" in refusal("--published", "--gpus", "8", "--contexts", "400")
    assert "give --speed" in refusal("--published", "--tier", "grok-5-max")
    assert "1 to 4" in refusal("--published", "--drafts", "3", "--accepted", "5")
    assert "beyond the window" in refusal("--published", "--context", "2000000")
    assert "--published" in refusal()


def test_what_would_be_passed_over_is_refused() -> None:
    assert "--replicas is not of --published" in refusal("--published", "--replicas", "3")
    assert "--speed, --context are of --published" in refusal("run", "--speed", "50", "--context", "8000")
    assert "--batch 999 is more than a replica" in refusal("--published", "--batch", "999")
