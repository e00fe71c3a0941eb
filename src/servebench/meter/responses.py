"""ResponsesReader: an answer of the responses API (POST /v1/responses), as stream or whole. Pure.

Events name themselves in "type", and each has a sequence_number, so none is like the one before but for its
text: all are parsed. response.completed ends the answer; whether a [DONE] follows is not known, and either
does. An incomplete answer ended at its token limit or by a filter: a finish, as in Chat Completions. A failed
one is a stream error. Usage is read into Chat Completions' terms (output_tokens include reasoning).
"""

from typing import Any, Final

from servebench.meter.answer import MAX_LABEL, Parts, error_text
from servebench.meter.stream import AnswerReader
from servebench.meter.usage import read_responses_usage

_VISIBLE: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_REASONING: Final = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_ARGUMENTS: Final = "response.function_call_arguments.delta"
_CALLS: Final = ("function_call", "custom_tool_call")
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_FINISH: Final = {"max_output_tokens": "length"}


class ResponsesReader(AnswerReader):
    """As AnswerReader, in the other dialect."""

    __slots__ = ("_streamed_calls",)

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(secrets)
        self._streamed_calls: set[int] = set()  # whose arguments came piece by piece

    def _chunk(self, chunk: dict[str, Any], at_ns: int) -> Parts | None:
        kind, place = chunk.get("type"), _place(chunk)
        if not isinstance(kind, str):
            self.bad = self.bad or "an event is not of the responses API"
        elif kind in _VISIBLE or kind in _REASONING:
            if chunk.get("delta"):
                self._count(Parts(visible=kind in _VISIBLE, reasoning=kind in _REASONING), at_ns)
        elif kind == _ARGUMENTS:
            self._streamed_calls.add(place)
            if chunk.get("delta"):
                self._count(Parts(visible=True, tool_calls=frozenset({place})), at_ns)
        elif kind == "response.output_item.done":
            self._item(chunk.get("item"), place, at_ns)
        elif kind in _ENDS:
            self._end(chunk.get("response"))
        elif kind == "error":
            self.error = self.error or error_text(chunk, self._secrets)
        return None

    def _item(self, item: object, place: int, at_ns: int) -> None:
        """A call that came whole, as xAI sends them, carries its tokens now."""
        if not isinstance(item, dict) or item.get("type") not in _CALLS:
            return
        if place not in self._streamed_calls:
            self._count(Parts(visible=True, tool_calls=frozenset({place})), at_ns)
        self._take_arguments(place, item)

    def _take_arguments(self, place: object, item: dict[str, Any]) -> None:
        """A finished item has them whole; those of a custom tool are any text."""
        if item.get("type") == "function_call" and isinstance(item.get("arguments"), str):
            self._arguments.put(place, item["arguments"])

    def _end(self, response: object) -> None:
        if not isinstance(response, dict):
            self.bad = self.bad or "the last event holds no response"
            return
        usage = response.get("usage")
        if isinstance(usage, dict):
            self.usage = read_responses_usage(usage)
        self._facts(response, None)
        status = response.get("status")
        if status == "failed" or response.get("error"):
            self.error = self.error or error_text({"error": response.get("error") or "failed"}, self._secrets)
            return
        if status == "incomplete":
            details = response.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else None
            self.finish_reason = _FINISH.get(str(reason), str(reason or "incomplete")[:MAX_LABEL])
        else:
            self.finish_reason = "tool_calls" if self._tools else "stop"
        self.done_marker = True

    def _whole_answer(self, answer: object) -> None:
        output = answer.get("output") if isinstance(answer, dict) else None
        if not isinstance(output, list):
            self.bad = "the body is not a response"
            return
        kinds = [item.get("type") for item in output if isinstance(item, dict)]
        calls = frozenset(place for place, kind in enumerate(kinds) if kind in _CALLS)
        for place, item in enumerate(item for item in output if isinstance(item, dict)):
            self._take_arguments(place, item)
        self._count(
            Parts(
                visible="message" in kinds or bool(calls), reasoning="reasoning" in kinds, tool_calls=calls
            ),
            self._body.at_ns,
        )
        self._end(answer)


def _place(chunk: dict[str, Any]) -> int:
    """Which item of the output an event is about; -1: it does not say."""
    index = chunk.get("output_index")
    return index if isinstance(index, int) else -1
