"""No key gets into a file, and what only looks a little like one stays."""

import pytest

from servebench.results.redaction import REDACTED, redact_command, redact_text, redact_tree

KEY = "xai-" + "a1B2" * 20


@pytest.mark.parametrize(
    "arguments",
    [
        ["--api-key", "hunter2"],
        ["--api-key=hunter2"],
        ["--key", "hunter2"],
        ["--auth-token=hunter2"],
        ["-H", "Authorization: Bearer hunter2"],
        ["--host", "https://me:hunter2@example.org/v1"],
        ["--host", "https://example.org/v1?api_key=hunter2&x=1"],
        ["XAI_API_KEY=hunter2"],
    ],
)
def test_a_secret_is_gone(arguments: list[str]) -> None:
    safe = redact_command(["servebench", "run", *arguments, "--rate", "5"])
    assert "hunter2" not in " ".join(safe)
    assert REDACTED in " ".join(safe)
    assert safe[-2:] == ["--rate", "5"]


@pytest.mark.parametrize("key", [KEY, "sk-proj-" + "x" * 40, "hf_" + "y" * 30, "ghp_" + "z" * 36])
def test_keys_are_known_by_their_shape(key: str) -> None:
    assert key not in redact_text(f"curl {key}!")


def test_what_is_no_secret_stays() -> None:
    plain = [
        "servebench", "run", "xai-long-context", "--max-tokens", "500", "--seed", "7", "--prefix-key",
        "system",
        "--out", "runs/20261124T000000Z-chat-1", "f" * 64,
    ]  # fmt: skip
    assert redact_command(plain) == plain


def test_exact_values_are_removed_wherever_they_stand() -> None:
    tree = {"a": ["x my-odd-secret y"], "api_key": "anything", "token": "t", "tokens": 5, "key_count": 2}
    safe = redact_tree(tree, ["my-odd-secret"])
    assert safe == {
        "a": [f"x {REDACTED} y"], "api_key": REDACTED, "token": REDACTED, "tokens": 5, "key_count": 2
    }  # fmt: skip
