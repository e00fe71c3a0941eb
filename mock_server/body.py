"""Body: a request's bytes as they came, so that a long one is never copied as a whole."""

from dataclasses import dataclass

from aiohttp import web

from mock_server.choices import MAX_BODY_BYTES, OFF_LOOP_BYTES
from mock_server.refusals import body_too_large, plain


@dataclass(frozen=True, slots=True)
class Body:
    chunks: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.chunks))

    @property
    def is_long(self) -> bool:
        """Long enough to be read by another process."""
        return self.size_bytes > OFF_LOOP_BYTES

    def whole(self) -> bytes:
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)


async def read_body(request: web.Request) -> Body:
    """Raises RefusalError past MAX_BODY_BYTES, and for what is not encoded as its headers say."""
    try:
        length = request.content_length
        if length is not None and length <= OFF_LOOP_BYTES:
            return Body((await request.read(),))
        return await _read_long(request)
    except web.RequestPayloadError:
        raise plain(400, "Failed to buffer the request body: its encoding is broken") from None


async def _read_long(request: web.Request) -> Body:
    chunks, size = [], 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise body_too_large(MAX_BODY_BYTES)
        chunks.append(chunk)
    return Body(tuple(chunks))
