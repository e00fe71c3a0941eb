"""The Response object of /v1/responses: its keys in the recorded order, its items and its usage."""

import struct
from collections.abc import Mapping
from typing import Any

from mock_server.answer import Answer
from mock_server.reply import Reply
from mock_server.wire import Usage


class ResponseShape:
    """Of one reply. echo: what the response repeats of its request."""

    def __init__(self, reply: Reply, echo: Mapping[str, Any], *, created: int, streamed: bool) -> None:
        self._reply = reply
        self._echo = dict(echo)
        self._created = created
        self.answer: Answer = reply.admitted.answer
        self.id = reply.envelope.id
        self.reasoning_id, self.message_id = f"rs_{self.id}", f"msg_{self.id}"
        if streamed:  # recorded streams widen single-precision floats, whole answers do not
            for name in ("temperature", "top_p"):
                self._echo[name] = struct.unpack("f", struct.pack("f", self._echo[name]))[0]

    @property
    def message_index(self) -> int:
        """Of the first item after the reasoning."""
        return 1 if self.answer.reasoning_tokens else 0

    def thoughts(self) -> str:
        return self.answer.reasoning.plain(self.answer.reasoning_tokens)

    def text(self) -> str:
        return self.answer.text.plain(self.answer.visible_tokens)

    def reasoning_item(self, *, done: bool) -> dict[str, Any]:
        summary = [{"text": self.thoughts(), "type": "summary_text"}] if done else []
        return {
            "id": self.reasoning_id,
            "summary": summary,
            "type": "reasoning",
            "status": "completed" if done else "in_progress",
        }

    def message_item(self, *, done: bool) -> dict[str, Any]:
        return {
            "content": [text_part(self.text())] if done else [],
            "id": self.message_id,
            "role": "assistant",
            "type": "message",
            "status": self.status if done else "in_progress",
        }

    def call_item(self, position: int, *, done: bool) -> dict[str, Any]:
        call = self.answer.tool_calls[position]
        return {
            "arguments": call.arguments if done else "",
            "call_id": call.id,
            "name": call.name,
            "type": "function_call",
            "id": f"fc_{self.id}_{position}",
            "status": "completed" if done else "in_progress",
        }

    def output(self) -> list[dict[str, Any]]:
        items = [self.reasoning_item(done=True)] if self.answer.reasoning_tokens else []
        if self.answer.tool_calls:
            return items + [self.call_item(i, done=True) for i in range(len(self.answer.tool_calls))]
        return [*items, self.message_item(done=True)]

    @property
    def status(self) -> str:
        """Of a finished response: max_output_tokens, or the context, may have cut it."""
        return "incomplete" if self.answer.finish_reason == "length" else "completed"

    def in_progress(self) -> dict[str, Any]:
        return self._object("in_progress", completed=None, output=[], usage=None)

    def finished(self, completed: int) -> dict[str, Any]:
        return self._object(
            self.status, completed=completed, output=self.output(), usage=usage_json(self._reply.usage())
        )

    def _object(
        self, status: str, *, completed: int | None, output: list[dict[str, Any]], usage: Any
    ) -> dict[str, Any]:
        echo, envelope = self._echo, self._reply.envelope
        return {
            "created_at": self._created,
            "completed_at": completed,
            "id": self.id,
            "max_output_tokens": echo["max_output_tokens"],
            "model": envelope.model,
            "object": "response",
            "output": output,
            "parallel_tool_calls": echo["parallel_tool_calls"],
            "previous_response_id": echo["previous_response_id"],
            "reasoning": echo["reasoning"],
            "temperature": echo["temperature"],
            "text": echo["text"],
            "tool_choice": echo["tool_choice"],
            "tools": echo["tools"],
            "top_p": echo["top_p"],
            "usage": usage,
            "user": echo["user"],
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "status": status,
            "store": echo["store"],
            "metadata": {**echo["metadata"], "system_fingerprint": envelope.fingerprint},
            "background": False,
            "service_tier": envelope.service_tier,
            "truncation": echo["truncation"],
            "top_logprobs": echo["top_logprobs"],
            "presence_penalty": echo["presence_penalty"],
            "frequency_penalty": echo["frequency_penalty"],
            "prompt_cache_key": echo["prompt_cache_key"],
            "max_tool_calls": echo["max_tool_calls"],
            "safety_identifier": echo["safety_identifier"],
            "error": None,
            "instructions": echo["instructions"],
        }


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "logprobs": [], "annotations": []}


def usage_json(usage: Usage) -> dict[str, Any]:
    """Responses' counts: output_tokens includes reasoning."""
    output_tokens = usage.completion_tokens + usage.reasoning_tokens
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + output_tokens,
        "num_sources_used": 0,
        "num_server_side_tools_used": 0,
        "cost_in_usd_ticks": usage.cost_ticks,
        "context_details": {"input_tokens": usage.prompt_tokens, "output_tokens": output_tokens},
    }
