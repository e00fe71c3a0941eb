"""Public models: the counts and caches that follow from the configs, against what the makers print."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from servebench.catalog.architectures import Family
from servebench.catalog.load import DATA
from servebench.catalog.model_file import find_model, load_models
from servebench.catalog.stack_constants import NAMES, PRIORS, load_stack_constants
from servebench.errors import UsageError

MODELS = load_models()
# makers differ in whether the looked-up input table is active; these count it
COUNTS_TABLE = {"qwen3-30b-a3b", "qwen3-next-80b-a3b"}


@pytest.mark.parametrize("model_id", MODELS)
def test_parameters_are_the_published_ones(model_id: str) -> None:
    model = MODELS[model_id]
    rel = 0.03 if model_id == "kimi-k2" else 0.02  # printed as 1T
    assert model.params_total == pytest.approx(model.published_total, rel=rel)
    if model.published_active is not None:
        active = model.params_active + (model.params_embedding if model_id in COUNTS_TABLE else 0)
        assert active == pytest.approx(model.published_active, rel=0.06)


@pytest.mark.parametrize(
    ("model_id", "kib"),
    [
        ("deepseek-v3", 34.3),
        ("kimi-k2", 34.3),
        ("qwen3-235b-a22b", 94),
        ("qwen3-coder-480b-a35b", 124),
        ("grok-1", 128),
        ("llama-3.1-70b", 160),
        ("llama-3.1-405b", 252),
    ],
)
def test_cache_bytes_of_a_token(model_id: str, kib: float) -> None:
    """fp8, all layers; MLA keeps 512 + 64 numbers a layer whatever its heads."""
    assert MODELS[model_id].kv_bytes_per_token(1.0) / 1024 == pytest.approx(kib, abs=0.05)


def test_only_full_attention_layers_grow_a_cache() -> None:
    """Kimi K3's arrangement (24 full MLA layers of 93) comes to the 13.5 KiB that its caches hold."""
    hybrid = replace(find_model("kimi-k2"), layers=93, full_layers=24)
    assert hybrid.kv_bytes_per_token(1.0) / 1024 == 13.5
    windowed = find_model("gpt-oss-120b")
    assert windowed.window_layers == 18
    assert windowed.window_bytes(1.0) == 18 * 2 * 8 * 64 * 128
    linear = find_model("qwen3.5-397b-a17b")
    assert (linear.full_layers, linear.linear_layers) == (15, 45)
    assert linear.state_bytes == 45 * 64 * 128 * 128 * 4


def test_models_are_found_by_any_of_their_names() -> None:
    assert find_model("deepseek-ai/DeepSeek-R1") is find_model("nvidia/DeepSeek-V3.1-NVFP4")
    assert find_model("openai/gpt-oss-120b").family is Family.WINDOW
    with pytest.raises(UsageError, match=r"unknown model 'acme/secret-9'; known: llama-3\.1-8b"):
        find_model("acme/secret-9")


def test_fitted_constants_lie_within_their_bounds_and_name_their_source() -> None:
    fitted = load_stack_constants()
    assert len(NAMES) <= 20
    assert set(fitted.without) == {model.family for model in MODELS.values() if model.family in Family}
    for constants in (fitted.all, *fitted.without.values()):
        for name in NAMES:
            prior = PRIORS[name]
            assert prior.low <= prior.value <= prior.high
            assert prior.low * 0.999 <= getattr(constants, name) <= prior.high * 1.001
    assert fitted.source.source.startswith("fitted to ")


def test_a_constant_out_of_bounds_or_missing_is_said(tmp_path: Path) -> None:
    text = yaml.safe_load((DATA / "stack_constants.yaml").read_text())
    text["fitted"]["values"]["mfu"] = 3.0
    del text["without_family"]["MLA"]["values"]["overlap"]
    path = tmp_path / "stack_constants.yaml"
    path.write_text(yaml.safe_dump(text))
    with pytest.raises(UsageError) as caught:
        load_stack_constants(path)
    told = str(caught.value)
    assert "values.mfu: 3 is outside" in told
    assert "missing or unknown: overlap" in told
