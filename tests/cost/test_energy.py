"""Energy: a PUE counts once and on IT power only; what Colossus 2 holds and what it feeds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servebench.catalog.load import load_catalog
from servebench.cost.energy import Draw, cluster_fit, gpu_draw, kwh_per_mtok, mean_kw


def test_energy_of_a_million_tokens() -> None:
    """2.17 kW at 1,000 tokens/s: 1,000 s of it = 0.603 kWh."""
    assert kwh_per_mtok(Draw(2.17, all_in=True), tokens_per_s=1000) == pytest.approx(2.17 * 1000 / 3600)
    assert kwh_per_mtok(Draw(1.5, all_in=False), tokens_per_s=1000, pue=1.1) == pytest.approx(1.65 / 3.6)


@given(kw=st.floats(0.01, 100), pue=st.floats(1, 3))
def test_a_pue_is_never_applied_twice(kw: float, pue: float) -> None:
    it = Draw(kw, all_in=False)
    metered = Draw(it.at_meter_kw(pue), all_in=True)
    assert metered.at_meter_kw(pue) == it.at_meter_kw(pue) == pytest.approx(kw * pue)


def test_an_idle_gpu_draws_half() -> None:
    assert [mean_kw(all_in_kw=2.0, utilisation=u) for u in (0.0, 0.5, 1.0)] == [1.0, 1.5, 2.0]


def test_colossus_2_by_gpus_and_by_megawatts() -> None:
    """2.5 kW per GPU at the meter; all-in 346 MW as H100, 434 MW as B200: GPUs run out first."""
    catalog = load_catalog()
    cluster = catalog.clusters["colossus-2"]
    assert cluster.megawatts * 1000 / cluster.gpus == 2.5
    fits = [cluster_fit(cluster, catalog.gpu(gpu_id)) for gpu_id in cluster.gpu_ids]
    assert [(fit.gpus, fit.binds) for fit in fits] == [(200_000, "GPUs"), (200_000, "GPUs")]
    assert [fit.megawatts for fit in fits] == pytest.approx([346, 434])


def test_megawatts_bind_where_a_gpu_draws_more() -> None:
    from dataclasses import replace

    catalog = load_catalog()
    hungry = replace(catalog.gpu("b200"), all_in_kw=2.6)
    fit = cluster_fit(catalog.clusters["colossus-2"], hungry)
    assert (fit.gpus, fit.binds) == (192_307, "megawatts")
    assert fit.megawatts <= 500
    assert gpu_draw(hungry).at_meter_kw(1.1) == 2.6


def test_impossible_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="PUE"):
        Draw(1, all_in=True).at_meter_kw(0.9)
    with pytest.raises(ValueError, match="power"):
        Draw(-1, all_in=True)
    with pytest.raises(ValueError, match="utilisation"):
        mean_kw(all_in_kw=1, utilisation=2)
    with pytest.raises(ValueError, match="tokens_per_s"):
        kwh_per_mtok(Draw(1, all_in=True), tokens_per_s=0)
