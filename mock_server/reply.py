"""Reply: one admitted request on its way through the engine, and what its answer says on the wire."""

from dataclasses import dataclass
from typing import Any

from mock_server import wire
from mock_server.admission import Admitted
from mock_server.answer import Answer
from mock_server.billing import billed_ticks
from mock_server.model import Model
from servebench.engine.sequence import Sequence


@dataclass(slots=True)
class Reply:
    """One sequence of the engine per choice; their times are on the engine's clock."""

    admitted: Admitted
    model: Model
    sequences: tuple[Sequence, ...]
    envelope: wire.Envelope
    _usage: wire.Usage | None = None

    def ttft_s(self, first_token_s: float | None = None) -> float:
        """From the request's last byte to the end of the step that made the first token, or to this one,
        where that step is still in flight; 0 without either."""
        first = self.sequences[0]
        if first_token_s is None:
            first_token_s = first.first_token_s
        return 0.0 if first_token_s is None else first_token_s - first.arrival_s

    def usage(self) -> wire.Usage:
        """Of the finished answer. The prompt counts once, however many choices were made of it."""
        if self._usage is None:
            self._usage = self._counted()
        return self._usage

    def _counted(self) -> wire.Usage:
        answers, prompt_tokens = self.admitted.answers, self.admitted.prompt_tokens
        cached_tokens = self.sequences[0].cached_tokens
        return wire.Usage(
            prompt_tokens=prompt_tokens,
            cached_tokens=cached_tokens,
            completion_tokens=sum(answer.visible_tokens for answer in answers),
            reasoning_tokens=sum(answer.reasoning_tokens for answer in answers),
            cost_ticks=billed_ticks(
                self.model.sheet,
                prompt_tokens=prompt_tokens,
                cached_tokens=cached_tokens,
                output_tokens=sum(answer.total_tokens for answer in answers),
                priority=self.envelope.service_tier == "priority",
            ),
        )

    @property
    def generated_tokens(self) -> int:
        return sum(sequence.generated for sequence in self.sequences)

    def stream_head(self, *, chunked: bool, first_token_s: float | None = None) -> bytes:
        """first_token_s: where the step that makes it is still in flight."""
        return wire.stream_head(self.envelope, ttft_s=self.ttft_s(first_token_s), chunked=chunked)

    def whole_head(self, length: int, *, keep_alive: bool) -> bytes:
        """Of the finished answer, whose body has so many bytes."""
        arrival_s, tokens = self.sequences[0].arrival_s, self.admitted.answer.total_tokens
        e2e_s = max(sequence.finished_s or arrival_s for sequence in self.sequences) - arrival_s
        mean_itl_s = (e2e_s - self.ttft_s()) / max(1, tokens - 1)
        return wire.whole_head(
            self.envelope,
            length=length,
            ttft_s=self.ttft_s(),
            mean_itl_s=mean_itl_s,
            e2e_s=e2e_s,
            keep_alive=keep_alive,
        )

    def whole_body(self, created: int) -> bytes:
        choices = [
            {"index": index, "message": message_json(answer), "finish_reason": answer.finish_reason}
            for index, answer in enumerate(self.admitted.answers)
        ]
        return wire.completion_json(self.envelope, created=created, choices=choices, usage=self.usage())


def message_json(answer: Answer) -> dict[str, Any]:
    """An assistant's message, as chat completions have it."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    if not answer.tool_calls:
        message["content"] = answer.text.plain(answer.visible_tokens)
    if answer.reasoning_tokens:
        message["reasoning_content"] = answer.reasoning.plain(answer.reasoning_tokens)
    if answer.tool_calls:
        message["tool_calls"] = [wire.tool_call_json(call) for call in answer.tool_calls]
    message["refusal"] = None
    return message
