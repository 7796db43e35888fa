"""TLS over memory, without a stream: the test carries the records itself.

Owns: `httpcore._core.tls_pump`. Must not know: streams.
"""

from __future__ import annotations

import ssl

import pytest

from httpcore._core.tls_pump import RECORD_PAYLOAD, TLSPump

ENDS = (ssl.SSLZeroReturnError, ssl.SSLEOFError)


class Server:
    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)


@pytest.fixture
def server(server_tls_context: ssl.SSLContext) -> Server:
    return Server(server_tls_context)


@pytest.fixture
def pump(server: Server, client_tls_context: ssl.SSLContext) -> TLSPump:
    """After the handshake, and after the tickets."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_tls_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    made = TLSPump(tls, incoming, outgoing, ssl.SSLWantReadError, ENDS)
    shaken = False
    while not made.try_step(tls.do_handshake)[0] or not shaken:
        server.incoming.write(made.urgent())
        try:
            server.tls.do_handshake()
            shaken = True
        except ssl.SSLWantReadError:
            pass
        made.feed(server.outgoing.read())
    assert made.try_step(lambda: tls.read(1)) == (False, None)
    assert made.urgent() == b""
    return made


def test_reading(server: Server, pump: TLSPump) -> None:
    server.tls.write(b"ab")
    record = server.outgoing.read()
    pump.feed(record[:9])
    assert pump.has_input
    assert pump.try_step(lambda: pump.tls.read(1)) == (False, None)
    pump.feed(record[9:])
    for byte, more in ((b"a", True), (b"b", False)):
        assert pump.try_step(lambda: pump.tls.read(1)) == (True, byte)
        pump.note_read(1)
        assert (pump.holds, pump.ended) == (more, False)


def test_a_record_counts_when_all_of_it_was_taken(server: Server, pump: TLSPump) -> None:
    data = memoryview(b"x" * (RECORD_PAYLOAD + 1))
    pump.claim(data)
    records = bytes(pump.collect())
    server.incoming.write(records[:7])
    pump.took(7)
    pump.claim(data)  # the same bytes again: no second record
    assert bytes(pump.collect()) == records[7:]
    assert pump.urgent() == b""  # nothing overtakes them
    server.incoming.write(records[7:])
    pump.took(len(records) - 7)
    assert not pump.behind
    assert pump.settle() == RECORD_PAYLOAD
    assert pump.settle() == 0
    assert server.tls.read(100_000) == bytes(data[:RECORD_PAYLOAD])


@pytest.mark.parametrize("notify", [True, False])
def test_the_end(notify: bool, server: Server, pump: TLSPump) -> None:
    if notify:
        with pytest.raises(ssl.SSLWantReadError):
            server.tls.unwrap()
        pump.feed(server.outgoing.read())
    pump.feed(b"")
    if notify:
        assert pump.try_step(lambda: pump.tls.read(1)) == (True, b"")
        pump.note_read(0)
    else:
        with pytest.raises(ssl.SSLEOFError) as caught:
            pump.try_step(lambda: pump.tls.read(1))
        assert pump.note_end(caught.value)
    assert (pump.ended, pump.unclean_eof) == (True, not notify)


def test_a_failure_is_no_end(pump: TLSPump) -> None:
    assert not pump.note_end(ssl.SSLError(1, "bad record mac"))
    assert (pump.ended, pump.unclean_eof) == (True, False)
    assert pump.note_end(ssl.SSLZeroReturnError())
    assert not pump.unclean_eof
