"""TLS with a certificate authority made for the test: verified, refused, stamped by the kernel like plain
HTTP.
"""

import socket
import ssl
import sys
import time
from pathlib import Path

import pytest

from servebench.errors import UsageError
from servebench.meter.call import Target, Timeouts
from servebench.meter.record import Outcome
from servebench.meter.tls import RecordFraming
from tests.certificates import make_certificates, needs_openssl
from tests.meter.servers import FAST, STREAM_HEAD, Handler, frame, read_request, run_calls, serve

pytestmark = needs_openssl

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, and a certificate of it for 127.0.0.1 in server.pem and server.key."""
    return make_certificates(tmp_path_factory.mktemp("tls"))


def encrypted(folder: Path, handler: Handler, version: ssl.TLSVersion | None = None) -> Handler:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    if version is not None:
        context.maximum_version = version

    def wrapped(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            handler(secure)

    return wrapped


def stream(sent_ns: list[int], *, times: int = 1, gap_s: float = 0.02) -> Handler:
    def handler(sock: socket.socket) -> None:
        for _ in range(times):
            read_request(sock)
            sock.sendall(STREAM_HEAD)
            for _ in range(12):
                time.sleep(gap_s)
                sent_ns.append(time.monotonic_ns())
                sock.sendall(frame(CHUNK))
            sock.sendall(frame(DONE) + b"0\r\n\r\n")

    return handler


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_streams_are_measured_and_connections_reused(folder: Path, version: ssl.TLSVersion) -> None:
    sent_ns: list[int] = []
    with serve(encrypted(folder, stream(sent_ns, times=2), version)) as port:
        target = Target("127.0.0.1", port, tls=True, ca_file=str(folder / "ca.pem"))
        results, health = run_calls(port, 2, target=target, timeouts=Timeouts())
    for record, chunk_us in results:
        assert (record.outcome, record.error, record.chunks) == (Outcome.SUCCESS, "", 12)
        assert sorted(chunk_us[1:])[5] == pytest.approx(20_000, abs=5_000)
    assert [record.reused_connection for record, _ in results] == [False, True]
    (first, _), (second, _) = results
    assert first.connect_ns is not None
    assert first.tls_ns is not None
    assert 0 < first.connect_ns < 1e9
    assert 0 < first.tls_ns < 1e9
    assert first.sent_ns is not None
    assert first.client_lag_s is not None
    opening_s = (first.connect_ns + first.tls_ns) / 1e9
    assert (first.sent_ns - first.intended_ns) / 1e9 - first.client_lag_s == pytest.approx(opening_s)
    assert (second.connect_ns, second.tls_ns) == (None, None), "it paid neither"
    assert (health.connections_opened, health.connections_reused) == (1, 1)
    if sys.platform == "linux":
        assert health.missing_stamps == 0
        assert [record.user_stamps for record, _ in results] == [0, 0]


def test_large_requests_and_bodies_pass(folder: Path) -> None:
    sizes: list[int] = []
    body = b'{"choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}' % (b"y" * 3_000_000)

    def handler(sock: socket.socket) -> None:
        sizes.append(len(read_request(sock)[1]))
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        sock.sendall(head + body)

    with serve(encrypted(folder, handler)) as port:
        target = Target("127.0.0.1", port, tls=True, ca_file=str(folder / "ca.pem"))
        results, _ = run_calls(port, target=target, body=b"x" * 3_000_000, timeouts=Timeouts())
    assert (results[0][0].outcome, results[0][0].error) == (Outcome.SUCCESS, "")
    assert results[0][0].response_bytes > 3_000_000
    assert sizes == [3_000_000]


def test_an_unknown_authority_is_refused(folder: Path) -> None:
    with serve(encrypted(folder, stream([]))) as port:
        results, _ = run_calls(port, target=Target("127.0.0.1", port, tls=True))
    record = results[0][0]
    assert record.outcome is Outcome.CONNECT_ERROR
    assert "CERTIFICATE_VERIFY_FAILED" in record.error
    assert record.sent_ns is None


def test_a_name_that_is_not_in_the_certificate_is_refused(folder: Path) -> None:
    with serve(encrypted(folder, stream([]))) as port:
        target = Target("localhost", port, tls=True, ca_file=str(folder / "ca.pem"))
        results, _ = run_calls(port, target=target)
    assert results[0][0].outcome is Outcome.CONNECT_ERROR
    assert "CERTIFICATE_VERIFY_FAILED" in results[0][0].error


def test_a_server_without_tls(folder: Path) -> None:
    def handler(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serve(handler) as port:
        results, _ = run_calls(port, target=Target("127.0.0.1", port, tls=True))
    assert results[0][0].outcome is Outcome.CONNECT_ERROR
    assert "TLS" in results[0][0].error


def test_a_handshake_that_never_ends_is_no_connection() -> None:
    with serve(lambda sock: time.sleep(0.8)) as port:
        limits = Timeouts(connect_s=0.3, first_byte_s=5, idle_s=5, total_s=5)
        results, _ = run_calls(port, target=Target("127.0.0.1", port, tls=True), timeouts=limits)
    assert results[0][0].outcome is Outcome.CONNECT_ERROR
    assert "0.3 s" in results[0][0].error


def test_a_stream_cut_without_goodbye(folder: Path) -> None:
    def handler(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(STREAM_HEAD + frame(CHUNK))

    with serve(encrypted(folder, handler)) as port:
        target = Target("127.0.0.1", port, tls=True, ca_file=str(folder / "ca.pem"))
        results, _ = run_calls(port, target=target, timeouts=FAST)
    assert (results[0][0].outcome, results[0][0].chunks) == (Outcome.STREAM_CUT, 1)


def test_a_ca_file_that_cannot_be_read() -> None:
    with pytest.raises(UsageError, match="CA file"):
        run_calls(1, target=Target("127.0.0.1", 1, tls=True, ca_file="/nowhere.pem"))


@pytest.mark.parametrize("size", [1, 3, 4, 5, 6, 50, 10_000])
def test_record_framing_follows_records_under_any_split(size: int) -> None:
    records = [
        b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body for body in (b"a" * 40, b"b" * 60, b"c" * 40)
    ]
    data = b"".join(records)
    framing = RecordFraming()
    for start in range(0, len(data), size):
        framing.feed(data[start : start + size])
    assert not framing.inside
    assert framing.want == 45


def test_record_reads_do_not_touch_the_next_record() -> None:
    records = [b"\x17\x03\x03" + (50 + n % 7).to_bytes(2, "big") + b"x" * (50 + n % 7) for n in range(40)]
    data, framing, position, ends = b"".join(records), RecordFraming(), 0, set()
    framing.feed(data[:55])
    position = 55
    while position < len(data):
        step = framing.want
        framing.feed(data[position : position + step])
        position += step
        if not framing.inside:
            ends.add(position)
    edges = {sum(map(len, records[: n + 1])) for n in range(1, 40)}
    assert ends == edges
