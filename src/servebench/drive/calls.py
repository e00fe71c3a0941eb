"""Calls: what is sent for each id of the plan, made ahead of its time. A draw is a function of (seed, id)."""

from servebench.meter.call import CHAT_PATH, RESPONSES_PATH, Body, Call
from servebench.workload.body_parts import BodyParts
from servebench.workload.plan import Workload
from servebench.workload.spec import RequestSpec


class Calls:
    """prepare(id) when there is time, take(id) when it is due. Times are ns since T0."""

    def __init__(self, workload: Workload, *, api: str, seed: int) -> None:
        self._workload, self._seed = workload, seed
        self._path = RESPONSES_PATH if api == "responses" else CHAT_PATH
        self._made: dict[int, tuple[RequestSpec, BodyParts]] = {}

    def prepare(self, request_id: int) -> None:
        if request_id not in self._made:
            self._made[request_id] = (self._workload.spec(request_id), self._workload.body_parts(request_id))

    def take(self, request_id: int, intended_ns: int) -> tuple[Call, RequestSpec]:
        self.prepare(request_id)
        spec, body = self._made.pop(request_id)
        return self._call(request_id, intended_ns, spec, body), spec

    def bare(self, request_id: int, intended_ns: int) -> tuple[Call, RequestSpec]:
        """Without a body: of a request that is never sent."""
        spec = self._workload.spec(request_id)
        return self._call(request_id, intended_ns, spec, b""), spec

    def _call(self, request_id: int, intended_ns: int, spec: RequestSpec, body: Body) -> Call:
        return Call(
            id=request_id, class_name=spec.class_name, session=spec.session, turn=spec.turn, model=spec.model,
            intended_ns=intended_ns, body=body, asked_output_tokens=spec.output_tokens, path=self._path,
            asked_prompt_tokens=spec.asked_tokens, sent_prompt_tokens=spec.prompt_tokens,
            # the header is for chat completions; prompt_cache_key in the body is for both APIs
            conv_id=spec.cache_key(self._seed) if self._path == CHAT_PATH else "",
        )  # fmt: skip
