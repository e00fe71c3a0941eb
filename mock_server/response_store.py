"""Stored responses: to be read again, deleted, or continued by previous_response_id."""

from collections import OrderedDict
from dataclasses import dataclass

from mock_server.choices import MAX_STORED_BYTES, MAX_STORED_RESPONSES
from mock_server.response_request import Turn


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """body: the response as JSON. previous: what it continues, which stays even where it is deleted."""

    key: str
    turn: Turn
    body: bytes
    previous: "StoredResponse | None"

    def history(self) -> tuple[Turn, ...]:
        """All turns up to this one, oldest first."""
        turns, response = [], self
        while True:
            turns.append(response.turn)
            if response.previous is None:
                return tuple(reversed(turns))
            response = response.previous

    @property
    def size_bytes(self) -> int:
        return self.turn.size_bytes + len(self.body)


class ResponseStore:
    """Least recently used ones go past MAX_STORED_RESPONSES or MAX_STORED_BYTES."""

    def __init__(self) -> None:
        self._responses: OrderedDict[str, StoredResponse] = OrderedDict()
        self._bytes = 0

    def put(self, response_id: str, response: StoredResponse) -> None:
        self._responses[response_id] = response
        self._bytes += response.size_bytes
        while len(self._responses) > MAX_STORED_RESPONSES or self._bytes > MAX_STORED_BYTES:
            self._bytes -= self._responses.popitem(last=False)[1].size_bytes

    def get(self, key: str, response_id: str) -> StoredResponse | None:
        """None where this key has no such response."""
        response = self._responses.get(response_id)
        if response is None or response.key != key:
            return None
        self._responses.move_to_end(response_id)
        return response

    def delete(self, key: str, response_id: str) -> bool:
        response = self.get(key, response_id)
        if response is None:
            return False
        del self._responses[response_id]
        self._bytes -= response.size_bytes
        return True
