"""The shipped catalog holds what is known, and a faulty one says all that is wrong with it."""

import dataclasses
import datetime
import math
import shutil
from pathlib import Path

import pytest
import yaml

from servebench.catalog.load import DATA, load_catalog
from servebench.catalog.provenance import Kind, Source
from servebench.catalog.tiers import ModelShape, ServingProfile, Tier
from servebench.catalog.variants import with_value
from servebench.errors import UsageError

TIERS = ("grok-4.3", "grok-5-small", "grok-5-mid", "grok-5-large", "grok-5-max")
# P_tot, GPUs, weights in GB: the tiers' table
SIZES = {
    "grok-4.3": (0.5e12, "b300", 8, 286),
    "grok-5-small": (1e12, "b300", 8, 570),
    "grok-5-mid": (1.5e12, "b300", 8, 854),
    "grok-5-large": (6e12, "gb300", 32, 3402),
    "grok-5-max": (10e12, "gb300", 72, 5663),
}
NO_NUMBER = {"gpu_id", "communication"}


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the shipped files, to be spoilt."""
    return Path(shutil.copytree(DATA, tmp_path / "data"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def problems(directory: Path) -> str:
    with pytest.raises(UsageError) as error:
        load_catalog(directory)
    return str(error.value)


@pytest.mark.parametrize("tier_id", TIERS)
def test_the_tiers_have_their_sizes(tier_id: str) -> None:
    tier = load_catalog().tier(tier_id)
    params, gpu, gpus, weights_gb = SIZES[tier_id]
    assert (tier.shape.params_total, tier.serving.gpu_id, tier.serving.gpus) == (params, gpu, gpus)
    assert round(tier.shape.weight_bytes / 1e9) == weights_gb


@pytest.mark.parametrize("tier_id", TIERS)
def test_active_parameters_are_the_non_expert_ones_and_k_experts(tier_id: str) -> None:
    shape = load_catalog().tier(tier_id).shape
    routed = shape.experts_active / shape.experts * shape.params_expert
    assert shape.params_non_expert + routed == pytest.approx(shape.params_active)


@pytest.mark.parametrize("tier_id", TIERS)
def test_active_parameters_are_on_the_fitted_line(tier_id: str) -> None:
    """ln P_act = -1.08 + 0.70 ln P_tot, in billions; the fit's own digits are rounded here."""
    shape = load_catalog().tier(tier_id).shape
    line = math.exp(-1.08 + 0.70 * math.log(shape.params_total / 1e9))
    assert shape.params_active / 1e9 == pytest.approx(line, rel=0.04)


@pytest.mark.parametrize("tier_id", TIERS)
def test_every_number_of_a_tier_has_a_source(tier_id: str) -> None:
    tier = load_catalog().tier(tier_id)
    numbers = {f.name for f in dataclasses.fields(ModelShape)} | {
        f.name for f in dataclasses.fields(ServingProfile) if getattr(tier.serving, f.name) not in (None, {})
    }
    numbers |= {f.name for f in dataclasses.fields(Tier) if isinstance(getattr(tier, f.name), (int, float))}
    numbers |= {f"reasoning_tokens.{effort}" for effort in tier.reasoning_tokens}
    assert numbers - NO_NUMBER - set(tier.sources) == set()


def all_sources() -> list[tuple[str, Source]]:
    catalog = load_catalog()
    named = [(row.id, row.sources) for row in catalog.tiers.values()]
    named += [(row.id, row.sources) for row in catalog.gpus.values()]
    named += [(row.id, row.sources) for row in catalog.clusters.values()]
    named += [(row.id, row.sources) for row in catalog.references.values()]
    found = [(f"{row}.{name}", source) for row, sources in named for name, source in sources.items()]
    return found + [(model, sheet.source) for model, sheets in catalog.prices.items() for sheet in sheets]


def test_every_source_says_what_and_when() -> None:
    for name, source in all_sources():
        assert source.source, name
        assert source.date, name
        assert source.date[:4].isdigit(), name


def test_modelled_numbers_carry_their_uncertainty() -> None:
    for tier in load_catalog().tiers.values():
        for name, source in tier.sources.items():
            if source.kind is Kind.MODELLED:
                assert (source.low is not None and source.high is not None) or source.note, name


def test_grok_5_is_never_called_published_beyond_the_brief() -> None:
    catalog = load_catalog()
    for tier_id in TIERS[1:]:
        tier = catalog.tier(tier_id)
        assert tier.sources["params_active"].kind is Kind.MODELLED
        assert tier.status == "announced"
        for sheet in catalog.prices.get(tier_id, ()):
            assert sheet.source.kind is Kind.MODELLED
            assert sheet.low is not None
            assert sheet.high is not None
            assert sheet.low.output_ticks <= sheet.base.output_ticks <= sheet.high.output_ticks


def test_weights_fit_their_replica() -> None:
    catalog = load_catalog()
    for tier in catalog.tiers.values():
        memory = tier.serving.gpus * (0.9 * catalog.gpu(tier.serving.gpu_id).memory_bytes - 4e9)
        assert tier.shape.weight_bytes < memory


def test_unknown_names_list_the_known() -> None:
    catalog = load_catalog()
    with pytest.raises(UsageError, match=r"unknown tier 'grok-9'; known: grok-4\.3, grok-5-small"):
        catalog.tier("grok-9")
    with pytest.raises(UsageError, match="unknown GPU 'a100'; known: h100"):
        catalog.gpu("a100")
    with pytest.raises(UsageError, match="no price is known of 'gpt-9'"):
        catalog.price("gpt-9")


def test_aliases_and_retired_slugs_find_their_model() -> None:
    catalog = load_catalog()
    assert catalog.tier("grok-4.3-latest").id == "grok-4.3"
    assert catalog.price("grok-4.3-latest").model == "grok-4.3"
    assert catalog.price("grok-latest").model == "grok-4.5"
    assert catalog.price("grok-4-0709").model == "grok-4.3"
    assert catalog.price("grok-code-fast-1", day("2026-10-01")).model == "grok-build-0.1"
    with pytest.raises(UsageError, match="no price is known of 'grok-4-0709'"):
        catalog.price("grok-4-0709", day("2026-05-14"))


def test_a_price_is_the_one_of_its_day() -> None:
    catalog = load_catalog()
    cached = [catalog.price("grok-4.5", day(d)).base.cached_ticks for d in ("2026-07-10", "2026-08-11")]
    assert cached == [5000, 5000]
    assert catalog.price("grok-4.5", day("2026-08-12")).base.cached_ticks == 3000
    assert catalog.price("grok-4.5").base.cached_ticks == 3000
    assert catalog.price("grok-4.20-0309-reasoning", day("2026-04-29")).base.output_ticks == 60_000
    with pytest.raises(UsageError, match=r"no price of 'grok-4\.5' is known on 2026-07-09: the oldest"):
        catalog.price("grok-4.5", day("2026-07-09"))


def test_the_catalog_is_read_once() -> None:
    assert load_catalog() is load_catalog()


def test_all_errors_of_a_file_come_at_once(data: Path) -> None:
    edit(data / "tiers.yaml", "max_num_seqs: 256", "max_num_seqs: 0")
    edit(data / "tiers.yaml", "from: sparsity, low: 18e9", "from: hearsay, low: 18e9")
    edit(data / "tiers.yaml", "name: Grok 5 Small", "nom: Grok 5 Small")
    edit(data / "tiers.yaml", "low: 29e9, high: 60e9", "low: 43e9, high: 60e9")
    text = problems(data)
    assert "tiers.yaml: tiers.grok-4.3.shape.params_active: from: hearsay is no source of this file" in text
    assert "tiers.grok-4.3.serving.max_num_seqs.value: Input should be greater than or equal to 1" in text
    assert "tiers.grok-5-small.nom: Extra inputs are not permitted" in text
    assert "tiers.grok-5-small.name: Field required" in text
    assert "tiers.grok-5-small.shape.params_active: low 4.3e+10 is above the value 4.2e+10" in text


def test_a_modelled_number_without_its_band_is_refused(data: Path) -> None:
    edit(
        data / "tiers.yaml",
        "hidden: {value: 6144, from: modelled, note: a guess}",
        "hidden: {value: 6144, from: modelled}",
    )
    assert "tiers.grok-4.3.shape.hidden: is MODELLED: give its low and high" in problems(data)


def test_a_key_that_stands_twice_is_refused(data: Path) -> None:
    edit(data / "gpus.yaml", "    tdp_w: 700\n", "    tdp_w: 700\n    tdp_w: 800\n")
    assert "gpus.yaml: is not valid YAML: the key 'tdp_w' stands twice" in problems(data)


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "a: [1\n", "gpus: {}\n", "? [a, b]\n: c\n", "1: 2\n", "a: \t"]
)
def test_files_that_are_no_catalog(data: Path, text: str) -> None:
    (data / "gpus.yaml").write_text(text, encoding="utf-8")
    assert "gpus.yaml: " in problems(data)


def test_a_missing_file_is_named(data: Path) -> None:
    (data / "clusters.yaml").unlink()
    assert "clusters.yaml cannot be read" in problems(data)


def test_ids_that_point_nowhere(data: Path) -> None:
    edit(data / "tiers.yaml", "gpu_id: gb300", "gpu_id: gb900")
    edit(data / "clusters.yaml", "[h100, b200]", "[h100, x200]")
    edit(data / "prices.yaml", "{to: grok-build-0.1,", "{to: grok-built-0.1,")
    text = problems(data)
    assert "tiers.yaml: grok-5-large: gpu_id 'gb900' is not in gpus.yaml" in text
    assert "clusters.yaml: colossus-2: gpu_id 'x200' is not in gpus.yaml" in text
    assert "grok-code-fast-1 is retired to 'grok-built-0.1', which has no price" in text


def test_two_sheets_of_one_day_are_refused(data: Path) -> None:
    edit(data / "prices.yaml", "as_of: 2026-08-12", "as_of: 2026-07-10")
    assert "prices: grok-4.5 has two sheets as of one day" in problems(data)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "base: {input: 12500, cached: 2000,",
            "base: {input: 12500, cached: 12501,",
            "costs more than a fresh one",
        ),
        ("base: {input: 12500,", "base: {input: 12500.0,", "Input should be a valid integer"),
        ("        threshold_tokens: 200000\n", "", "long and threshold_tokens go together"),
        ("as_of: 2026-09-29", "as_of: today", "String should match pattern"),
        ("        from: bill-4.3\n", "        kind: MODELLED\n", "is MODELLED: give its low and high rates"),
    ],
)
def test_prices_that_cannot_be(data: Path, old: str, new: str, sentence: str) -> None:
    edit(data / "prices.yaml", old, new)
    assert sentence in problems(data)


def test_a_second_price_file_is_read_with_the_first(data: Path) -> None:
    sheet = {
        "as_of": datetime.date(2026, 11, 24),
        "base": {"input": 30_000, "cached": 4_800, "output": 60_000},
        "low": {"input": 10_000, "cached": 1_600, "output": 20_000},
        "high": {"input": 90_000, "cached": 14_400, "output": 180_000},
    }
    for path in data.glob("prices_*.yaml"):
        path.unlink()
    (data / "prices_ours.yaml").write_text(
        yaml.safe_dump(
            {
                "sources": {"model": {"kind": "MODELLED", "source": "a model", "date": "2026-11-24"}},
                "default": "model",
                "prices": {"grok-5-max": {"sheets": [sheet]}},
            }
        ),
        encoding="utf-8",
    )
    catalog = load_catalog(data)
    found = catalog.price("grok-5-max")
    assert (found.source.kind, found.base.output_ticks) == (Kind.MODELLED, 60_000)
    assert catalog.price("grok-4.3").base.output_ticks == 25_000


def test_a_variant_moves_what_follows_from_it() -> None:
    tier = load_catalog().tier("grok-5-large")
    doubled = with_value(tier, "params_active", 2 * tier.shape.params_active).shape
    routed = doubled.experts_active / doubled.experts * doubled.params_expert
    assert doubled.params_non_expert + routed == pytest.approx(doubled.params_active)
    assert doubled.params_non_expert == 2 * tier.shape.params_non_expert
    assert with_value(tier, "layer_latency_s", 1e-4).serving.layer_latency_s == 1e-4
    assert with_value(tier, "layers", 10).shape.layers == 10
    with pytest.raises(KeyError):
        with_value(tier, "name", 1)
