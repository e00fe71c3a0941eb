"""The small tool set that ships: OpenAI function schemas that a scenario can name instead of spelling out."""

from typing import Any


def _function(name: str, description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            },
        },
    }


_TOOLS = (
    _function(
        "get_weather",
        "Current weather at a place.",
        city={"type": "string", "description": "City and country."},
        unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
    ),
    _function(
        "search_documents",
        "Find passages of the user's documents that answer a question.",
        query={"type": "string", "description": "What to look for, in words."},
        limit={"type": "integer", "description": "How many passages at most."},
    ),
    _function(
        "run_sql",
        "Run one read-only SQL query on the analytics warehouse and return its rows as JSON.",
        query={"type": "string", "description": "A single SELECT statement."},
    ),
    _function(
        "create_ticket",
        "Open a support ticket.",
        title={"type": "string", "description": "One line."},
        body={"type": "string", "description": "What happened, and what was expected."},
        priority={"type": "string", "enum": ["low", "normal", "urgent"]},
    ),
)

TOOLS: dict[str, dict[str, Any]] = {tool["function"]["name"]: tool for tool in _TOOLS}
