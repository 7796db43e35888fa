"""Header compression: our decoders and our writer of blocks against hpack's.

Owns: what they may differ in. Must not know: frames.

The first byte of an input says which half is tried. Blocks for the decoders: a length, as many
bytes, and so on; each is read twice. Requests for the writer: lines of ``path`` and of
``name: value``, an empty line behind each; a line ``=N`` sets the size of the server's table.

What has to hold
----------------
- A decoder that remembers blocks, and the compiled one where it is installed, give the fields that
  hpack gives, block after block, or refuse where it refuses; with its errors alone.
  Two things are left to the compiled one: it takes a change of the table's size anywhere in a
  block (RFC 7541 section 4.2: at the beginning alone), and any bits behind a Huffman-coded string
  (section 5.2: ones). What follows is read alike.
- What the writer writes, hpack reads as what `request_fields` has made, each of three times.
"""

from __future__ import annotations

import hpack

from httpcore import LocalProtocolError
from httpcore._core.h2_request import HeadWriter, request_fields
from httpcore._core.hpack import CODERS, HeaderDecoder

# What hpack says where jh2 reads on.
_LENIENT = ("Table size update", "Huffman")

MAX_LIST = 4096  # bytes of a header list, as the decoders count them
MAX_TABLE = 8192  # of the server's table; ours stays below

#: Of the first byte: the writer is tried.
WRITES = 1

TOKENS = (
    b"\x82", b"\x84", b"\x88", b"\xbe", b"\x40\x01a\x01b", b"\x00\x01a\x01b", b"\x10\x01a\x01b",
    b"\x20", b"\x3f\xe1\x1f", b"\x3f\xe1\x3f", b"\x7f\x80\x01", b"\xff\xff\xff\xff\xff\x0f",
    b"\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", b"\x48\x82\x64\x02", b"\x80",
    b"\x0f\x0d\x015", b"host: a.test\n", b"cookie: a=b\n", b"authorization: x\n", b"/a\n", b"\n",
    b"=0\n", b"=4096\n", b"=100\n", b"te: trailers\n", b"connection: x\n", b"x-a: ", b"\n\n",
)  # fmt: skip


def one(data: bytes) -> None:
    """Try one input; see the top of the module."""
    if data[:1] and data[0] & WRITES:
        write(data[1:])
        return
    for name, (_, new_decoder) in CODERS.items():
        read(data[1:], new_decoder(), name)


def blocks(data: bytes) -> list[bytes]:
    """Return the blocks of an input, each twice."""
    found = []
    at = 0
    while at < len(data):
        found += [data[at + 1 : at + 1 + data[at]]] * 2
        at += 1 + data[at]
    return found


def read(data: bytes, decoder: HeaderDecoder, name: str) -> None:
    """Check one decoder against hpack's."""
    reference = hpack.Decoder()
    reference.max_header_list_size = decoder.max_header_list_size = MAX_LIST
    for block in blocks(data):
        try:
            theirs = [tuple(field) for field in reference.decode(block, raw=True)]
        except hpack.HPACKError as exc:
            theirs = None
            if name == "jh2" and any(map(str(exc).__contains__, _LENIENT)):
                return
        try:
            ours = [tuple(field) for field in decoder.decode(block, raw=True)]
        except hpack.HPACKError:
            ours = None
        assert ours == theirs, (block, ours, theirs)
        if ours is None:
            return  # the connection ends here


def write(data: bytes) -> None:
    """Check our writer by hpack's decoder."""
    for new_encoder, _ in CODERS.values():
        writer = HeadWriter(new_encoder())
        decoder = hpack.Decoder()
        for text in data.split(b"\n\n"):
            path, *lines = text.split(b"\n")
            fields = [(b"host", b"a.test")]
            for line in lines:
                name, _, value = line.partition(b": ")
                fields.append((name, value))
            if path[:1] == b"=" and path[1:].isdigit() and len(path) < 6:
                size = min(int(path[1:]), MAX_TABLE)
                writer.header_table_size = decoder.max_allowed_table_size = size
                continue
            for _ in range(3):
                write_one(writer, decoder, path, fields)


def write_one(
    writer: HeadWriter, decoder: hpack.Decoder, path: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    """Write one request, unless it is refused, and read it."""
    try:
        head = writer.read(b"GET", b"https", path, fields)
    except LocalProtocolError:
        return
    wanted = [tuple(field) for field in request_fields(b"GET", b"https", path, fields)]
    got = [tuple(field) for field in decoder.decode(writer.write(head), raw=True)]
    # The path goes first: the rest is remembered without it.
    assert sorted(got) == sorted(wanted), (got, wanted)
    assert [field for field in got if field[0] != b":path"] == [
        field for field in wanted if field[0] != b":path"
    ]
