"""Client profiles after ServeGen (github.com/alibaba/ServeGen, Apache-2.0; arXiv 2505.09999): per client the
rate of every ten minutes, the CV of its gaps, and quantiles of its lengths; arrivals drawn from them.

The file is a JSON object: `quantiles` (levels), and `categories`, each with `clients` of `rate_series_10min`
(requests/s), `cv_median`, and `lengths` of input_tokens and output_tokens (or text_tokens and image_tokens
beside output_tokens), each with `q` at the levels. Lengths are drawn between the levels on a log scale and
clipped to the outermost, so that a mean misses what is beyond the 99 % level; input and output are drawn
independently. Gaps are Gamma within the moving rate, whatever family fitted best.
"""

import difflib
import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from servebench.errors import UsageError
from servebench.workload.arrivals import MAX_ARRIVALS, intended_starts
from servebench.workload.draws import uniforms
from servebench.workload.rate_curve import RateCurve

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WINDOW_S = 600.0
_CV_LEAST, _CV_MOST = 0.05, 100.0
_NO_INPUT = {"output_tokens", "reason_ratio"}  # lengths that are not the prompt's


class _Lengths(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    q: tuple[float, ...] = Field(min_length=2)

    def tokens(self, u: Floats, levels: Floats) -> Ints:
        logs = np.log(np.maximum(np.maximum.accumulate(np.array(self.q)), 1.0))
        return np.maximum(np.rint(np.exp(np.interp(u, levels, logs))), 1).astype(np.int64)


class _Client(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    client: str
    cv_median: float = Field(gt=0)
    lengths: dict[str, _Lengths]
    rate_series_10min: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1)


class _Category(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    clients: tuple[_Client, ...] = Field(min_length=1)


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    quantiles: tuple[float, ...] = Field(min_length=2)
    categories: dict[str, _Category] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of one category, largest first as the file has them."""

    name: str
    levels: Floats
    clients: tuple[_Client, ...]

    @property
    def duration_s(self) -> float:
        return _WINDOW_S * max(len(client.rate_series_10min) for client in self.clients)

    def draw(
        self, *, start_s: float, duration_s: float | None, rate_scale: float, seed: int
    ) -> tuple[Ints, Ints, Ints, float]:
        """arrival_ns (sorted, from start_s on), input and output tokens of all requests, and the seconds."""
        length_s = min(duration_s or self.duration_s, self.duration_s - start_s)
        if start_s < 0 or length_s <= 0:
            raise UsageError(
                f"{self.name} is {self.duration_s:g} s long: it has nothing from {start_s:g} s on"
            )
        if not 0 < rate_scale < float("inf"):
            raise UsageError(f"a rate factor must be a number > 0, got {rate_scale:g}")
        parts = [
            self._one(k, start_s=start_s, length_s=length_s, rate_scale=rate_scale, seed=seed)
            for k in range(len(self.clients))
        ]
        starts, inputs, outputs = (np.concatenate(vectors) for vectors in zip(*parts, strict=True))
        if not len(starts):
            raise UsageError(f"{self.name} has no request from {start_s:g} s to {start_s + length_s:g} s")
        order = np.argsort(starts, kind="stable")
        return starts[order], inputs[order], outputs[order], length_s

    def _one(
        self, k: int, *, start_s: float, length_s: float, rate_scale: float, seed: int
    ) -> tuple[Ints, Ints, Ints]:
        client = self.clients[k]
        first = int(start_s // _WINDOW_S)
        rates = np.array(client.rate_series_10min[first:], dtype=np.float64) * rate_scale
        edges = np.maximum(np.arange(first, first + len(rates) + 1) * _WINDOW_S - start_s, 0.0)
        times = np.append(np.repeat(edges, 2)[1:-1], edges[-1])
        curve = RateCurve(times, np.append(np.repeat(rates, 2), 0.0))
        expected = curve.area_s(length_s) if len(rates) else 0.0
        if expected > MAX_ARRIVALS:
            raise UsageError(f"{self.name}: {expected:.3g} arrivals of client {client.client} are too many")
        if expected <= 0:
            none = np.empty(0, dtype=np.int64)
            return none, none, none
        stream = f"servegen/{client.client}"
        cv = float(np.clip(client.cv_median, _CV_LEAST, _CV_MOST))
        steady = intended_starts("gamma", rate_rps=1.0, duration_s=expected, cv=cv, seed=seed, stream=stream)
        moved = np.rint(curve.times_s(steady / 1e9) * 1e9)
        starts = moved[moved < round(length_s * 1e9)].astype(np.int64)
        inputs = np.zeros(len(starts), dtype=np.int64)
        for key in client.lengths.keys() - _NO_INPUT:
            inputs += self._tokens(client, key, len(starts), seed)
        return starts, inputs, self._tokens(client, "output_tokens", len(starts), seed)

    def _tokens(self, client: _Client, key: str, count: int, seed: int) -> Ints:
        u = uniforms(seed, f"servegen/{client.client}/{key}", 0, count)
        return client.lengths[key].tokens(u, self.levels)


def parse_clients(text: str, *, name: str, category: str) -> Clients:
    """One category of a file of client profiles. UsageError naming the categories where it has no such."""
    try:
        raw: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: is not JSON: {error}") from None
    try:
        file = _File.model_validate(raw)
    except ValidationError as error:
        places = [".".join(map(str, detail["loc"])) + f": {detail['msg']}" for detail in error.errors()[:20]]
        raise UsageError(*(f"{name}: {place}" for place in places)) from None
    known = list(file.categories)
    if category not in file.categories:
        near = difflib.get_close_matches(category, known, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"{name}: name one of its categories as {name}#{known[0]}: {', '.join(known)}{hint}")
    levels = file.quantiles
    if not (levels[0] > 0 and levels[-1] < 1 and all(a < b for a, b in pairwise(levels))):
        raise UsageError(f"{name}: quantiles must rise between 0 and 1")
    clients = file.categories[category].clients
    short = (
        [
            f"{name}: client {client.client}: {key} has {len(lengths.q)} quantiles, not {len(file.quantiles)}"
            for client in clients
            for key, lengths in client.lengths.items()
            if len(lengths.q) != len(file.quantiles)
        ]
        + [
            f"{name}: client {c.client} has no output_tokens"
            for c in clients
            if "output_tokens" not in c.lengths
        ]
        + [
            f"{name}: client {c.client} has no lengths of its prompts"
            for c in clients
            if not c.lengths.keys() - _NO_INPUT
        ]
    )
    if short:
        raise UsageError(*short[:20])
    return Clients(f"{name}#{category}", np.array(file.quantiles, dtype=np.float64), clients)
