"""What lay between the plan and the server's answers: connections, the server's own timing, waits by rule and
attempts that were repeated. Of the whole run, warm-up included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from servebench.results.class_summary import distribution_json
from servebench.results.columns import Columns
from servebench.results.percentiles import Distribution, distribution


@dataclass(frozen=True, slots=True)
class Network:
    """connect_s, tls_s: of requests that opened a connection; warmed_*: of those opened before the load.
    dns_s: the slowest worker's one look-up. server_ttft_s: the server's own (x-metrics-ttft-ms).

    throttled: requests that waited by rule; throttled_s and retries by reason. rate_limits: as the target
    stated them in its first answer.
    """

    connect_s: Distribution
    tls_s: Distribution
    warmed: int
    warmed_connect_s: Distribution
    warmed_tls_s: Distribution
    dns_s: float | None
    server_ttft_s: Distribution
    throttled: int
    throttled_s: Mapping[str, float]
    retries: Mapping[str, int]
    rate_limits: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """ "network" in summary.json."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: distribution_json(value)
            if isinstance(value, Distribution)
            else dict(value)
            if isinstance(value, Mapping)
            else value
            for name, value in values.items()
        }


def summarise_network(columns: Columns, manifest: Mapping[str, Any]) -> Network:
    shards = [shard for shard in dict(manifest.get("shards") or {}).values() if isinstance(shard, Mapping)]
    health = [dict(shard.get("health") or {}) for shard in shards]
    warmed = [dict(shard["warmed"]) for shard in shards if shard.get("warmed")]
    dns_us = [one["dns_us"] for one in health if one.get("dns_us") is not None]
    limits = [dict(one["rate_limits"]) for one in health if one.get("rate_limits")]
    at = columns.numbers
    return Network(
        connect_s=distribution(at["connect_ns"] / 1e9),
        tls_s=distribution(at["tls_ns"] / 1e9),
        warmed=sum(int(one["opened"]) for one in warmed),
        warmed_connect_s=_of([value for one in warmed for value in one["connect_s"]]),
        warmed_tls_s=_of([value for one in warmed for value in one["tls_s"]]),
        dns_s=max(dns_us) / 1e6 if dns_us else None,
        server_ttft_s=distribution(at["server_ttft_s"]),
        throttled=int(np.count_nonzero(at["throttled_ns"] > 0)),
        throttled_s=_sums(shards, "throttled_s"),
        retries={reason: int(count) for reason, count in _sums(shards, "retries").items()},
        rate_limits=limits[0] if limits else {},
    )


def _of(values: list[float]) -> Distribution:
    return distribution(np.array(values, dtype=np.float64))


def _sums(shards: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for shard in shards:
        for reason, value in dict(shard.get(name) or {}).items():
            total[reason] = total.get(reason, 0.0) + float(value)
    return dict(sorted(total.items()))
