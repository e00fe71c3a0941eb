"""A profile is a tier written down whole: what is read back is what was written, and serves in its place."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.catalog.load import load_catalog
from servebench.catalog.profile import profile_text, with_profiles
from servebench.catalog.tiers import Tier
from servebench.errors import UsageError

CATALOG = load_catalog()


def read_back(tier: Tier, directory: Path) -> Tier:
    path = directory / "profile.yaml"
    path.write_text(profile_text(tier, head="two\nlines"), encoding="utf-8")
    catalog, ids = with_profiles(CATALOG, [path])
    assert ids == [tier.id]
    return catalog.tier(tier.id)


@pytest.mark.parametrize("tier_id", CATALOG.tiers)
def test_every_tier_comes_back_with_all_its_numbers_and_sources(tier_id: str, tmp_path: Path) -> None:
    tier = CATALOG.tiers[tier_id]
    again = read_back(tier, tmp_path)
    for field in fields(tier):
        assert getattr(again, field.name) == getattr(tier, field.name), field.name


@given(
    latency_s=st.floats(0, 1e-3),
    accepted=st.floats(1, 4),
    active=st.floats(1e9, 4e11),
    share=st.floats(0.2, 0.8),
)
def test_any_numbers_come_back(
    tmp_path_factory: pytest.TempPathFactory, latency_s: float, accepted: float, active: float, share: float
) -> None:
    tier = CATALOG.tier("grok-4.3")
    serving = replace(tier.serving, layer_latency_s=latency_s, draft_tokens=3, accepted_tokens=accepted)
    non_expert = share * active
    routed = tier.shape.experts * (active - non_expert) / (tier.shape.params_total - non_expert)
    shape = replace(tier.shape, params_active=active, params_non_expert=non_expert, experts_active=routed)
    source = replace(tier.sources["params_active"], low=None, high=None)
    tier = replace(
        tier,
        serving=serving,
        shape=shape,
        sources={**tier.sources, "params_active": source, "layer_latency_s": source},
    )
    again = read_back(tier, tmp_path_factory.mktemp("profile"))
    assert again.serving == tier.serving
    for field in fields(shape):
        assert getattr(again.shape, field.name) == pytest.approx(getattr(shape, field.name), rel=1e-9)


def test_a_profile_replaces_the_catalogs_tier_and_leaves_the_rest(tmp_path: Path) -> None:
    tier = CATALOG.tier("grok-4.3")
    path = tmp_path / "wide.yaml"
    path.write_text(
        profile_text(replace(tier, serving=replace(tier.serving, max_num_seqs=512))), encoding="utf-8"
    )
    changed, ids = with_profiles(CATALOG, [path])
    assert ids == ["grok-4.3"]
    assert changed.tier("grok-4.3-latest").serving.max_num_seqs == 512
    assert changed.tier("grok-5-max") is CATALOG.tier("grok-5-max")
    assert CATALOG.tier("grok-4.3").serving.max_num_seqs == 256
    with pytest.raises(UsageError, match="stands in another profile"):
        with_profiles(CATALOG, [path, path])


def test_all_that_is_wrong_with_a_profile_is_said_at_once(tmp_path: Path) -> None:
    text = profile_text(CATALOG.tier("grok-4.3"))
    path = tmp_path / "bad.yaml"
    path.write_text(
        text.replace('gpu_id: "b300"', 'gpu_id: "b300"\n      turbo: 9').replace(
            "max_num_seqs: {value: 256", "max_num_seqs: {value: 0"
        ),
        encoding="utf-8",
    )
    with pytest.raises(UsageError) as caught:
        with_profiles(CATALOG, [path])
    assert len(caught.value.problems) == 2
    path.write_text(text.replace('"b300"', '"b400"'), encoding="utf-8")
    with pytest.raises(UsageError, match="b400"):
        with_profiles(CATALOG, [path])
