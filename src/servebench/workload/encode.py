"""BodyEncoder: a RequestSpec as the JSON bytes of POST /v1/chat/completions, of exactly the size it asks;
for POST /v1/responses they are translated (responses_body.py).

Sizes are in units of the measure (measure.py): bytes, or tokens of a BPE.

A shared prefix is the system message, the unshared text the user message. No field depends on when or where
it is encoded: the same (seed, spec) gives the same bytes on any worker.
"""

from collections.abc import Sequence

import orjson

from servebench.workload.body_parts import BodyParts, KeptTexts
from servebench.workload.history import history_messages
from servebench.workload.measure import Measure
from servebench.workload.prompt_set import PromptSet
from servebench.workload.prompts import billed_tokens, units_for
from servebench.workload.request_class import TOOL_CHOICES, RequestClass
from servebench.workload.responses_body import responses_body
from servebench.workload.sessions import split_id
from servebench.workload.spec import RequestSpec

_STREAM = b',"stream":true,"stream_options":{"include_usage":true}'


class BodyEncoder:
    """Encodes the specs of one plan: what a class fixes is encoded once, the text is sliced per request."""

    def __init__(
        self,
        classes: Sequence[RequestClass],
        *,
        model: str,
        seed: int,
        preamble_tokens: int,
        measure: Measure,
        prompts: PromptSet | None = None,
        api: str = "chat",
    ) -> None:
        self._prompts = prompts
        self._api = api
        self._corpus = measure.text_of(seed)
        self._shared = KeptTexts(self._corpus.shared)
        self._seed = seed
        self._preamble_tokens = preamble_tokens
        self._units_per_token = measure.units_per_token
        self._head = b'{"model":' + orjson.dumps(model) + b',"messages":['
        self._classes = {cls.name: cls for cls in classes}
        self._tails = {
            (cls.name, choice): _tail(cls, choice)
            for cls in classes
            for choice in {cls.tool_choice, *(("required", "none") if cls.session and cls.tools else ())}
        }
        self._tools_units = {cls.name: measure.tools_units(cls) for cls in classes}

    def material(self) -> bytes:
        """All that bodies are made of besides their specs: equal material and specs give equal bodies."""
        sizes = f"{self._seed}/{self._preamble_tokens}/{self._units_per_token!r}".encode()
        if self._api != "chat":
            sizes += f"/{self._api}".encode()
        tails = [
            b"%b:%b" % (name.encode(), self._tails[name, cls.tool_choice])
            for name, cls in self._classes.items()
        ]
        tails += [cls.session.model_dump_json().encode() for cls in self._classes.values() if cls.session]
        own = () if self._prompts is None else (text.encode() for text in self._prompts.messages)
        return b"\n".join((sizes, self._head, *tails, *own, self._corpus.material()))

    def body(self, spec: RequestSpec) -> bytes:
        """The request body. As chat it bills exactly spec.prompt_tokens on the mock (prompts.py)."""
        body = b"".join(self._parts(spec))
        return responses_body(body) if self._api == "responses" else body

    def body_parts(self, spec: RequestSpec) -> BodyParts:
        """The same, its large parts shared with other requests' until it is sent."""
        return BodyParts([self.body(spec)] if self._api == "responses" else self._parts(spec))

    def _parts(self, spec: RequestSpec) -> list[bytes]:
        if self._prompts is not None:
            messages = self._prompts.messages[spec.id % len(self._prompts.messages)].encode()
            return self._closed(spec, [self._head, messages[1:], _STREAM])
        ratio = self._units_per_token
        size = units_for(spec.prompt_tokens - self._preamble_tokens, units_per_token=ratio)
        size -= self._tools_units[spec.class_name]
        parts = [self._head]
        if spec.block_ids:
            parts += [b'{"role":"user","content":"', *self._blocks(spec, size), b'"}]', _STREAM]
            return self._closed(spec, parts)
        if spec.prefix_key:
            prefix_size = units_for(spec.prefix_tokens, units_per_token=ratio)
            size -= prefix_size
            parts += [
                b'{"role":"system","content":"',
                self._shared(spec.prefix_key, prefix_size),
                b'"},',
            ]
        size, sizes = self._history_sizes(spec, size)
        parts += [b'{"role":"user","content":"', self._corpus.unique(split_id(spec.id)[0], size), b'"}']
        if sizes:
            tools = self._classes[spec.class_name].tool_schemas
            parts += history_messages(
                spec.history, session=spec.session or 0, sizes=sizes, tools=tools, text=self._corpus.piece
            )
        parts += [b"]", _STREAM]
        return self._closed(spec, parts)

    def _history_sizes(self, spec: RequestSpec, size: int) -> tuple[int, list[tuple[int, int]]]:
        """Of size bytes those of the first user message, and of each step's (answer, result or message).

        Each is the difference of two whole prompts, so that a prompt's bytes are the earlier ones and more.
        """
        added = sum(step.answer_tokens + step.tokens for step in spec.history)
        content_tokens = spec.prompt_tokens - self._preamble_tokens - added
        start = units_for(content_tokens, units_per_token=self._units_per_token)
        sizes = []
        end = start
        for step in spec.history:
            answered = units_for(content_tokens + step.answer_tokens, units_per_token=self._units_per_token)
            content_tokens += step.answer_tokens + step.tokens
            total = units_for(content_tokens, units_per_token=self._units_per_token)
            sizes.append((answered - end, total - answered))
            end = total
        return size - (end - start), sizes

    def _blocks(self, spec: RequestSpec, size: int) -> list[bytes]:
        """Text of exactly size bytes whose block i ends where token (i + 1) * block_tokens of the bill does.

        The hidden preamble and the tools stand before it and take their part of the first blocks. What the
        ids don't reach, because the prompt was raised, is the request's own.
        """
        texts, start = [], 0
        before = self._tools_units[spec.class_name]
        for i, block_id in enumerate(spec.block_ids, 1):
            end = int((i * spec.block_tokens - self._preamble_tokens) * self._units_per_token) - before
            end = min(max(end, start), size)
            if end > start:
                texts.append(self._corpus.block(block_id, end - start))
                start = end
        if start < size:
            # negative: no trace has this id
            texts.append(self._corpus.block(-1 - spec.id, size - start))
        return texts

    def _closed(self, spec: RequestSpec, parts: list[bytes]) -> list[bytes]:
        if spec.output_tokens is not None:
            parts.append(b',"max_completion_tokens":%d' % spec.output_tokens)
        parts.append(self._tails[spec.class_name, spec.tool_choice])
        if key := spec.cache_key(self._seed):
            parts.append(b',"prompt_cache_key":' + orjson.dumps(key))
        parts.append(b"}")
        return parts


def least_prompt_tokens(
    cls: RequestClass, prefix_tokens: int, *, preamble_tokens: int, measure: Measure
) -> int:
    """The shortest prompt that holds the preamble, the tools, this prefix and a unique start."""
    ratio = measure.units_per_token
    size = measure.tools_units(cls) + measure.mark_units
    if prefix_tokens:
        size += units_for(prefix_tokens, units_per_token=ratio)
    return billed_tokens(size, preamble_tokens=preamble_tokens, units_per_token=ratio)


def _tail(cls: RequestClass, choice: str | None) -> bytes:
    tail = b""
    if cls.reasoning_effort is not None:
        tail += b',"reasoning_effort":' + orjson.dumps(cls.reasoning_effort)
    if cls.tools:
        tail += b',"tools":' + orjson.dumps(cls.tool_schemas)
    if choice is not None:
        named = {"type": "function", "function": {"name": choice}}
        tail += b',"tool_choice":' + orjson.dumps(choice if choice in TOOL_CHOICES else named)
    if cls.parallel_tool_calls is not None:
        tail += b',"parallel_tool_calls":' + orjson.dumps(cls.parallel_tool_calls)
    return tail
