"""SLO texts: what they mean, and every bad one said at once."""

import pytest

from servebench.errors import UsageError
from servebench.results.slo import Slo, parse_goodput, parse_slo, parse_slos, preset, ttft_limit_s


@pytest.mark.parametrize(
    ("text", "metric", "quantile", "limit", "class_name"),
    [
        ("ttft p99 < 2s", "ttft", 0.99, 2.0, None),
        ("TTFT p99.9<=250ms", "ttft", 0.999, 0.25, None),
        ("chat: tpot p95 < 35 ms", "tpot", 0.95, 0.035, "chat"),
        ("long-context: e2e p50 < 1.5e1s", "e2e", 0.5, 15.0, "long-context"),
        ("all: itl p95 < 500us", "itl", 0.95, 0.0005, None),
        ("interactivity p50 >= 100", "interactivity", 0.5, 100.0, None),
        ("interactivity p50 >= 100 tokens/s", "interactivity", 0.5, 100.0, None),
        ("error_rate < 1%", "error_rate", None, 0.01, None),
        ("goodput >= 0.95", "goodput", None, 0.95, None),
        ("chat:goodput > 8 rps", "goodput", None, 8.0, "chat"),
        ("client_lag p99 < 10ms", "client_lag", 0.99, 0.01, None),
    ],
)
def test_what_a_text_means(
    text: str, metric: str, quantile: float | None, limit: float, class_name: str | None
) -> None:
    slo = parse_slo(text)
    assert (slo.metric, slo.quantile, slo.limit, slo.class_name) == (metric, quantile, limit, class_name)


def test_shares_and_strictness() -> None:
    assert parse_slo("error_rate < 1%").required_share == pytest.approx(0.99)
    assert parse_slo("goodput >= 95%").required_share == 0.95
    assert parse_slo("goodput >= 8 rps").required_share is None
    assert parse_slo("ttft p99 < 2s").strict
    assert not parse_slo("ttft p99 <= 2s").strict


def test_a_limit_may_grow_with_the_prompt() -> None:
    slo = parse_slo("ttft p99 < 2s + 100us/token")
    assert slo.limit == 2.0
    assert slo.limit_s_per_prompt_token == pytest.approx(1e-4)
    (derived,) = preset("long-context", prefill_tokens_per_s=15_000)
    assert derived.limit_s_per_prompt_token == pytest.approx(1.5 / 15_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fast please", "not understood"),
        ("ttft p99 < 2", "needs a unit"),
        ("ttft p99 < 2 parsecs", "needs a unit"),
        ("ttft < 2s", "names no percentile"),
        ("ttft p100 < 2s", "above 0 and below 100"),
        ("ttft p99 > 2s", "needs <="),
        ("ttft p99 < 0s", "above 0"),
        ("latency p99 < 2s", 'no metric "latency"'),
        ("goodput < 95%", "needs >="),
        ("goodput p99 > 95%", "takes no percentile"),
        ("error_rate < 5", "as a share"),
        ("error_rate < 0%", "no sample can prove"),
        ("itl p99 < 2s + 1us/token", "can not"),
        ("ttft p99 < 1e999s", "above 0"),
    ],
)
def test_a_bad_text_is_said_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_slo(text)
    assert said in str(caught.value)
    assert text in str(caught.value)
    assert len(caught.value.problems) == 1


def test_all_bad_texts_are_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_slos(
            ["nonsense", "ttft p99 < 2s", "ttft < 1s", "chart: ttft p99 < 2s"], classes=["chat", "code"]
        )
    assert len(caught.value.problems) == 3
    assert 'no class "chart"' in caught.value.problems[2]


def test_presets() -> None:
    assert [slo.text for slo in parse_slos(["interactive"])] == ["ttft p99 < 1500ms", "tpot p99 < 15ms"]
    assert [slo.text for slo in parse_slos(["standard"])] == ["ttft p99 < 2000ms", "tpot p99 < 80ms"]
    assert parse_slos(["batch"]) == ()
    assert parse_slos(["standard", "ttft p99 < 2000ms"]) == parse_slos(["standard"])
    with pytest.raises(UsageError, match="prefill rate"):
        parse_slos(["long-context"])


def test_goodput_in_vllms_spelling() -> None:
    assert dict(parse_goodput(["ttft:500", "tpot:50"]).limits_s) == {"ttft": 0.5, "tpot": 0.05}
    assert dict(parse_goodput(["ttft:500 e2el:2000"]).limits_s) == {"ttft": 0.5, "e2e": 2.0}
    with pytest.raises(UsageError) as caught:
        parse_goodput(["ttft", "itl:50", "tpot:-1", "tpot:nan", "ttft:500", "ttft:600"])
    assert len(caught.value.problems) == 5


def test_the_tightest_ttft_limit() -> None:
    slos: list[Slo] = [
        parse_slo("ttft p99 < 2s"),
        parse_slo("chat: ttft p50 < 300ms"),
        parse_slo("tpot p99 < 1ms"),
    ]
    assert ttft_limit_s(slos) == pytest.approx(0.3)
    assert ttft_limit_s(slos, parse_goodput(["ttft:200"])) == pytest.approx(0.2)
    assert ttft_limit_s([]) is None
