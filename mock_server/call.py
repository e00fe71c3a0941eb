"""Call: one request for an answer, from its body to its bill: gate, replica, reply, wire faults, journal."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from mock_server import refusals
from mock_server.admission import Admitted
from mock_server.body import Body
from mock_server.connection import WriteTo, connection_of, written
from mock_server.faults import body_digest
from mock_server.faulty_transport import FaultyTransport
from mock_server.fleet import Place
from mock_server.gate import Ticket, note_refusal
from mock_server.generation import WaitableSink, generate
from mock_server.handover import HandOverError
from mock_server.journal import Entry, note_reply, note_request
from mock_server.refusals import RefusalError
from mock_server.reply import Reply
from mock_server.sending import StreamingSink, send_stream
from mock_server.service import Service
from mock_server.telemetry import key_id_of


class Call:
    """Its stages, in order: read, enter, then stream or generate and send, done."""

    reply: Reply
    key: str
    arrival_s: float  # of the last byte, on the engine's clock

    def __init__(self, service: Service, request: web.Request, entry: Entry) -> None:
        self.request = request
        self.entry = entry
        self._service = service
        self._place: Place | None = None
        self._ticket: Ticket | None = None
        self._faulty: FaultyTransport | None = None
        self._digest = b""
        self._body: Body | None = None

    async def read(self) -> Body:
        """Raises RefusalError: key, type, size."""
        service, entry = self._service, self.entry
        self.key = service.key(self.request)
        entry.key_id = key_id_of(self.key)
        body = self._body = await service.body(self.request)
        self.arrival_s = service.clock.now_s()
        self._digest = body_digest(body.chunks)
        entry.body, entry.body_bytes = self._digest.hex(), body.size_bytes
        return body

    def enter(self, admitted: Admitted, *, safety_fee_ticks: int = 0) -> Reply:
        """Raises RefusalError (no replica, a key that is one, a limit, a fault, no room), HandOverError."""
        service, entry = self._service, self.entry
        place = service.place(self.request, admitted, self._body)
        note_request(entry, admitted)
        service.screen(self.key, entry, safety_fee_ticks=safety_fee_ticks)
        gate = service.gate
        ticket = gate.enter(entry, key=self.key, body=self._digest, tokens=admitted.prompt_tokens)
        gate.refuse_queued(place.telemetry.replica.waiting_count)
        self._ticket, self._place = ticket, place
        self.reply = service.reply(admitted, self.arrival_s, ticket.allowance)
        entry.request_id, entry.replica = self.reply.envelope.id, place.index
        return self.reply

    def connection(self) -> WriteTo:
        """What the answer is written to: the transport, or what does to it what was asked for."""
        transport = connection_of(self.request)
        ticket = self._ticket
        if ticket is None or not ticket.wire_rules:
            return transport
        if self._faulty is None:
            self._faulty = FaultyTransport(transport, ticket.wire_rules, self._injected)
        return self._faulty

    async def stream(self, sinks: Sequence[StreamingSink]) -> web.StreamResponse:
        """The sinks write to connection()."""
        place = self._begin()
        return await send_stream(self.request, self.reply, sinks, place, self.connection())

    async def generate(self, sinks: Sequence[WaitableSink]) -> None:
        await generate(self.reply, sinks, self._begin())

    def send(self, body: bytes) -> web.StreamResponse:
        """A whole answer."""
        keep_alive = self.request.version >= (1, 1) and self.request.keep_alive
        connection = self.connection()
        if not connection.is_closing():
            connection.write(self.reply.whole_head(len(body), keep_alive=keep_alive) + body)
        return written(keep_alive=keep_alive)

    async def done(self, response: web.StreamResponse) -> web.StreamResponse:
        """Once all bytes are out: the bill. Raises ConnectionResetError where a fault ended the answer."""
        if self._faulty is not None:
            await self._faulty.flushed()
            if self._faulty.broke:
                raise ConnectionResetError("a fault ended the answer")
        self.bill()
        self.entry.outcome = "answered"
        return response

    def bill(self) -> None:
        ticks = self.reply.usage().cost_ticks
        self.entry.billed_ticks = ticks
        self._service.ledger.add(self.key, ticks)

    def defer(self) -> None:
        """The answer is made without the client; its tokens are charged when it is."""
        self.entry.status, self.entry.outcome = 200, "deferred"

    def close(self) -> None:
        """Charges what was made, and notes it."""
        if self._place is not None and self.entry.outcome != "deferred":
            self._service.gate.charge(self.key, self.entry.model, self.reply.generated_tokens)
            note_reply(self.entry, self.reply)

    def crashed(self) -> None:
        """After a cancellation. Where the replica was the cause, a stream that has begun breaks off; others
        hear that no replica is there: raises RefusalError."""
        if self._place is None or not self._place.crashed_under(asyncio.current_task()):
            return
        self.entry.outcome = "crashed"
        if self.entry.stream and self.reply.sequences[0].first_token_s is not None:
            self.connection().abort()
            return
        raise refusals.at_capacity(503)

    def _begin(self) -> Place:
        assert self._place is not None
        assert self._ticket is not None
        self.entry.status = 200
        if self._ticket.crash is not None:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._service.crash, self._place, self._ticket.crash.down_s, self.entry)
        return self._place

    def _injected(self, kind: str, ends: bool) -> None:
        self._service.gate.note(self.entry, kind)
        if ends:
            self.entry.outcome = "broken"


async def journaled(
    service: Service, request: web.Request, answer: Callable[[Call], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Runs a call, and notes in the journal how it ended."""
    journal = service.gate.journal
    entry = journal.begin(request.path)
    call = Call(service, request, entry)
    try:
        try:
            response = await answer(call)
        except asyncio.CancelledError:
            call.crashed()
            raise
        finally:
            call.close()
    except HandOverError:  # the other worker's journal has it
        raise
    except RefusalError as refusal:
        note_refusal(entry, refusal)
        journal.end(entry)
        raise
    except (asyncio.CancelledError, ConnectionResetError):
        entry.outcome = entry.outcome or "left"
        journal.end(entry)
        raise
    journal.end(entry)
    return response
