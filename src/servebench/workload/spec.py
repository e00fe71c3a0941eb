"""RequestSpec: what one request will ask, before it is sent."""

from dataclasses import dataclass

from servebench.workload.sessions import Step


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """One request to come. prompt_tokens is the target that the mock bills (preamble included).

    output_tokens None: the request sets no limit. prefix_key names the shared start of the prompt ("" = none)
    and prefix_tokens its length; the rest of the prompt is unique to (seed, id). block_ids: of a trace's
    prompt, the blocks of block_tokens it is made of; equal ids are equal text. history: of a session's call,
    what the calls before it left in the prompt. asked_tokens: the prompt as drawn, before preamble, tools and
    window had their way with it.
    """

    id: int
    class_name: str
    session: int | None
    turn: int
    model: str
    prompt_tokens: int
    output_tokens: int | None
    reasoning_effort: str | None
    tool_names: tuple[str, ...]
    tool_choice: str | None
    prefix_key: str
    prefix_tokens: int
    block_ids: tuple[int, ...] = ()
    block_tokens: int = 0
    history: tuple[Step, ...] = ()
    asked_tokens: int = 0

    def cache_key(self, seed: int) -> str:
        """Pins what shares a beginning to one server's cache: a session, else all of one prefix; or ""."""
        shared = self.prefix_key if self.session is None else f"{self.class_name}/session/{self.session}"
        return f"{seed}/{shared}" if shared else ""
