"""Reads usage out of a response's JSON, in the two dialects, into Chat Completions' terms.

Chat Completions: xAI's completion_tokens excludes reasoning (total = prompt + completion + reasoning);
OpenAI's includes it. total_tokens tells which. Responses: output_tokens includes reasoning, always.
"""

from collections.abc import Mapping
from typing import Any

from servebench.cost.bill import BillError, Usage

# key of server_side_tool_usage_details -> name on the price sheet
TOOL_NAMES = {
    "web_search_calls": "web_search",
    "x_search_calls": "x_search",
    "x_posts_fetched": "x_posts",
    "x_users_fetched": "x_profiles",
    "code_interpreter_calls": "code_execution",
    "file_search_calls": "collections_search",
    "document_search_calls": "attachment_search",
    "mcp_calls": "mcp",
    "image_generation_calls": "image_generation",
}


def usage_from_chat(body: Mapping[str, Any]) -> Usage | None:
    """The usage of a chat completion or of a stream's chunk; None where it carries none.

    Raises BillError on counts that are no counts or cannot be.
    """
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return None
    prompt = _count(usage, "prompt_tokens", required=True)
    completion = _count(usage, "completion_tokens", required=True)
    reasoning = _count(_details(usage, "completion_tokens_details"), "reasoning_tokens")
    if reasoning and _count(usage, "total_tokens") == prompt + completion:
        completion = _visible(completion, reasoning)
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=_count(_details(usage, "prompt_tokens_details"), "cached_tokens"),
        completion_tokens=completion,
        reasoning_tokens=reasoning,
        tool_calls=_tool_calls(usage),
        service_tier=_service_tier(body),
    )


def usage_from_responses(body: Mapping[str, Any]) -> Usage | None:
    """The usage of a response object, or of the stream event that carries one; None where there is none.

    Raises BillError on counts that are no counts or cannot be.
    """
    response = body.get("response", body)
    usage = response.get("usage") if isinstance(response, Mapping) else None
    if not isinstance(usage, Mapping):
        return None
    reasoning = _count(_details(usage, "output_tokens_details"), "reasoning_tokens")
    return Usage(
        prompt_tokens=_count(usage, "input_tokens", required=True),
        cached_tokens=_count(_details(usage, "input_tokens_details"), "cached_tokens"),
        completion_tokens=_visible(_count(usage, "output_tokens", required=True), reasoning),
        reasoning_tokens=reasoning,
        tool_calls=_tool_calls(usage),
        service_tier=_service_tier(response),
    )


def billed_ticks(body: Mapping[str, Any]) -> int | None:
    """The server's own bill (usage.cost_in_usd_ticks), from either dialect; None where it sends none."""
    response = body.get("response", body)
    usage = response.get("usage") if isinstance(response, Mapping) else None
    if not isinstance(usage, Mapping) or usage.get("cost_in_usd_ticks") is None:
        return None
    return _count(usage, "cost_in_usd_ticks")


def _visible(output: int, reasoning: int) -> int:
    if reasoning > output:
        raise BillError(f"usage says {reasoning} reasoning of {output} output tokens, which include them")
    return output - reasoning


def _count(usage: Mapping[str, Any], name: str, *, required: bool = False) -> int:
    value = usage.get(name)
    if value is None and not required:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise BillError(f"usage says {name} = {value!r}: a whole number is needed")
    return value


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = usage.get(name)
    return details if isinstance(details, Mapping) else {}


def _tool_calls(usage: Mapping[str, Any]) -> dict[str, int]:
    """Server-side calls that were made, by price-sheet name; a tool we have no name for keeps its own."""
    details = _details(usage, "server_side_tool_usage_details")
    return tool_calls({key: _count(details, key) for key in details})


def tool_calls(counts: Mapping[str, int]) -> dict[str, int]:
    """The server's own counts by price-sheet name."""
    calls = {TOOL_NAMES.get(key, key): count for key, count in counts.items()}
    return {tool: count for tool, count in calls.items() if count}


def _service_tier(body: Mapping[str, Any]) -> str | None:
    tier = body.get("service_tier")
    return tier if isinstance(tier, str) else None
