"""Verdicts on the client, inferred from what it did next. Pure: entries of the journal in, words out.

- ignored_retry_after: a request of the same key and model inside the time that a Retry-After asked for.
- retried_too_early: the same, with the body that was refused: no doubt is left.
- retry_storm: a body that failed was sent again STORM_RETRIES times within STORM_S.
- retried_hopeless: a body was sent again after a 400, 401, 403, 404 or 422, which no retry mends.
- accepted_broken: an answer that was cut, garbled or without its end, and the client never asked again,
  though RETRY_WINDOW_S went by or it went on with something else that began after it.
- left_early: the client closed before its answer's end.
Each stands on the entry it is about: the later request of a pair, but the broken answer itself.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from mock_server.journal import Entry

VERDICTS = (
    "ignored_retry_after", "retried_too_early", "retry_storm", "retried_hopeless", "accepted_broken",
    "left_early",
)  # fmt: skip
STORM_RETRIES = 4
STORM_S = 10.0
RETRY_WINDOW_S = 10.0
_HOPELESS = frozenset({400, 401, 403, 404, 422})
_BREAKING = frozenset(
    {"cut", "reset", "malformed_event", "malformed_chunk", "error_event", "no_finish", "no_done"}
)


def verdicts(entries: Iterable[Entry], *, now_s: float) -> dict[int, list[str]]:
    """The words on each entry by its place in order of arrival; entries without any are left out."""
    ordered = sorted(entries, key=lambda entry: entry.arrived_s)
    found: dict[int, list[str]] = defaultdict(list)
    _judge_pace(ordered, found)
    _judge_retries(ordered, found, now_s)
    for place, entry in enumerate(ordered):
        if entry.outcome == "left":
            found[place].append("left_early")
    return found


def _judge_pace(ordered: Sequence[Entry], found: dict[int, list[str]]) -> None:
    """Against the Retry-After headers sent so far to the same key and model."""
    shut: dict[tuple[str, str], list[tuple[float, float, str]]] = defaultdict(list)  # from, until, body
    for place, entry in enumerate(ordered):
        if not entry.model:
            continue
        periods = shut[entry.key_id, entry.model]
        periods[:] = [period for period in periods if period[1] > entry.arrived_s]
        told = [period for period in periods if period[0] < entry.arrived_s]
        if told:
            found[place].append("ignored_retry_after")
        if any(body == entry.body for _, _, body in told):
            found[place].append("retried_too_early")
        if entry.retry_after_s:
            periods.append((entry.ended_s, entry.ended_s + entry.retry_after_s, entry.body))


def _judge_retries(ordered: Sequence[Entry], found: dict[int, list[str]], now_s: float) -> None:
    same: dict[tuple[str, str], list[int]] = defaultdict(list)
    last_start: dict[str, float] = {}
    for place, entry in enumerate(ordered):
        if entry.body:  # refused before it was read: no two of these are known to be the same
            same[entry.key_id, entry.body].append(place)
        last_start[entry.key_id] = entry.arrived_s
    for (key_id, _), places in same.items():
        retries: list[float] = []
        for turn, place in enumerate(places):
            entry = ordered[place]
            before = ordered[places[turn - 1]] if turn else None
            if before is not None and _failed(before) and entry.arrived_s >= before.ended_s:
                if before.status in _HOPELESS:
                    found[place].append("retried_hopeless")
                retries = [at_s for at_s in retries if at_s > entry.arrived_s - STORM_S] + [entry.arrived_s]
                if len(retries) >= STORM_RETRIES:
                    found[place].append("retry_storm")
            if _broken(entry) and turn + 1 == len(places):
                went_on = last_start[key_id] > entry.ended_s
                if went_on or now_s - entry.ended_s > RETRY_WINDOW_S:
                    found[place].append("accepted_broken")


def _broken(entry: Entry) -> bool:
    """By a fault, or by its replica's crash in mid-stream."""
    return entry.status == 200 and (entry.outcome == "crashed" or not _BREAKING.isdisjoint(entry.faults))


def _failed(entry: Entry) -> bool:
    return entry.status >= 400 or entry.outcome == "broken" or _broken(entry)


def summary(entries: Sequence[Entry], *, now_s: float) -> dict[str, object]:
    """Requests and counts of each verdict, in all and by key id."""
    ordered = sorted(entries, key=lambda entry: entry.arrived_s)
    words = verdicts(ordered, now_s=now_s)
    by_key: dict[str, Counter[str]] = defaultdict(Counter)
    for place, entry in enumerate(ordered):
        by_key[entry.key_id]["requests"] += 1
        by_key[entry.key_id].update(words.get(place, ()))
    names = ("requests", *VERDICTS)
    return {
        "all": {name: sum(counts[name] for counts in by_key.values()) for name in names},
        "by_key": {key_id: {name: counts[name] for name in names} for key_id, counts in by_key.items()},
    }
