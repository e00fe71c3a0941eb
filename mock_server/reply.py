"""Reply: one admitted request on its way through the engine, and what its answer says on the wire."""

from dataclasses import dataclass
from typing import Any

from mock_server import wire
from mock_server.admission import Admitted
from mock_server.billing import billed_ticks
from servebench.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Reply:
    """sequence is the engine's; its times are on the engine's clock."""

    admitted: Admitted
    sequence: Sequence
    envelope: wire.Envelope

    @property
    def ttft_s(self) -> float:
        """From the request's last byte to the end of the step that made the first token."""
        first_s = self.sequence.first_token_s
        return 0.0 if first_s is None else first_s - self.sequence.arrival_s

    def usage(self) -> wire.Usage:
        answer, prompt_tokens = self.admitted.answer, self.admitted.prompt_tokens
        return wire.Usage(
            prompt_tokens=prompt_tokens,
            cached_tokens=self.sequence.cached_tokens,
            completion_tokens=answer.visible_tokens,
            reasoning_tokens=answer.reasoning_tokens,
            cost_ticks=billed_ticks(
                self.admitted.model.sheet,
                prompt_tokens=prompt_tokens,
                cached_tokens=self.sequence.cached_tokens,
                output_tokens=answer.total_tokens,
                priority=self.envelope.service_tier == "priority",
            ),
        )

    def stream_head(self, *, chunked: bool) -> bytes:
        return wire.stream_head(self.envelope.id, ttft_s=self.ttft_s, chunked=chunked)

    def whole_headers(self) -> dict[str, str]:
        """Of the finished answer."""
        sequence, tokens = self.sequence, self.admitted.answer.total_tokens
        e2e_s = (sequence.finished_s or 0.0) - sequence.arrival_s
        mean_itl_s = (e2e_s - self.ttft_s) / max(1, tokens - 1)
        return wire.answer_headers(self.envelope.id, ttft_s=self.ttft_s, mean_itl_s=mean_itl_s, e2e_s=e2e_s)

    def whole_body(self, created: int) -> bytes:
        answer = self.admitted.answer
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        if not answer.tool_calls:
            message["content"] = answer.text.plain(answer.visible_tokens)
        if answer.reasoning_tokens:
            message["reasoning_content"] = answer.reasoning.plain(answer.reasoning_tokens)
        if answer.tool_calls:
            message["tool_calls"] = [wire.tool_call_json(call) for call in answer.tool_calls]
        message["refusal"] = None
        return wire.completion_json(
            self.envelope,
            created=created,
            message=message,
            finish_reason=answer.finish_reason,
            usage=self.usage(),
        )
