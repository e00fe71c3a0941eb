"""`servebench tiers TIER --explain`: the derivation adds up, and its bands hold what they are bands of."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from servebench.catalog.load import load_catalog
from servebench.catalog.profile import profile_text
from servebench.catalog.tiers import ModelShape, ServingProfile
from servebench.cli import cli
from servebench.engine.step_time import StepTimeModel
from servebench.errors import UsageError

CATALOG = load_catalog()


def explained(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["tiers", "--explain", "--json", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    found: dict[str, Any] = json.loads(result.output)
    return found


@pytest.mark.parametrize("tier_id", CATALOG.tiers)
def test_the_derivation_adds_up(tier_id: str) -> None:
    tier = CATALOG.tier(tier_id)
    model = StepTimeModel(tier.shape, tier.serving, CATALOG.gpu(tier.serving.gpu_id))
    found = explained(tier_id)
    numbers = {field.name for part in (ModelShape, ServingProfile) for field in fields(part)}
    no_source = {"gpu_id", "communication", "accepted_tokens_by_workload", "max_queued_requests"}
    assert numbers - no_source <= set(found["inputs"])
    assert all(row["source"] and row["date"] for row in found["inputs"].values())
    step = found["step"]
    assert sum(step["parts_us"].values()) == pytest.approx(step["total_us"])
    assert step["tokens_per_s_per_user"] == pytest.approx(step["accepted_tokens"] * 1e6 / step["total_us"])
    prefill = found["prefill"]
    assert sum(prefill["parts_us"].values()) == pytest.approx(prefill["total_us"])
    assert prefill["total_us"] > step["total_us"]
    derived = found["derived"]
    assert derived["kv_pool_tokens"]["value"] == model.kv_pool_tokens()
    assert derived["contexts_of_1m_tokens"]["value"] == model.kv_pool_tokens() // 1_000_000
    for row in found["speeds"]:
        assert row["tokens_per_s_per_user"] == pytest.approx(
            model.tokens_per_s_per_user(row["batch"], row["context_tokens"])
        )
        assert row["kind"] == "published" or row["low"] < row["tokens_per_s_per_user"] < row["high"]
    for row in found["cold_ttft"]:
        assert row["ttft_s"] == pytest.approx(
            tier.serving.ttft_floor_s + model.prefill_s(row["prompt_tokens"])
        )
        assert row["low"] < row["ttft_s"] < row["high"]
    assert [(row["batch"], row["context_tokens"]) for row in found["speeds"]] == [
        (1, 8_000),
        (32, 64_000),
        (128, 64_000),
        (8, 1_000_000),
    ]


def test_what_was_solved_is_said_and_its_speed_is_known() -> None:
    found = explained("grok-4.3")
    assert found["solved"]["name"] == "layer_latency_s"
    assert found["solved"]["from"] == "100 tokens/s at 32 x 64000 tokens"
    point = found["speeds"][1]
    assert (point["kind"], point["low"]) == ("published", None)
    assert "layer_latency_s" in found["kinds"]["derived"]
    assert explained("grok-5-max")["solved"] is None
    assert len(explained("grok-5-max")["extrapolated"]) == 2


def test_the_text_and_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(profile_text(CATALOG.tier("grok-5-mid")), encoding="utf-8")
    result = CliRunner().invoke(cli, ["tiers", "--explain", "--profile", str(path)], catch_exceptions=False)
    for text in ("Grok 5 Mid", "One step of 32 sequences", "cold TTFT, 1000k", "KV pool", "extrapolated:"):
        assert text in result.output
    refused = CliRunner().invoke(cli, ["tiers", "--explain"])
    assert isinstance(refused.exception, UsageError)
