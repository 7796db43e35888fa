"""Cassettes: HTTP exchanges in a text file, and how they are given again without a network.

Owns: the format (`file`); what is taken out before anything is written (`filters`); which recorded
answer is the one for a request (`matching`); and the two ends of a connection: a `Recorder` listens
to what passes by, a `Player` is the server.
Must not know: files, sockets, locks, clocks. It takes and gives bytes, so that one shell of
`_backends` can be synchronous and another asynchronous.

A network layer sees bytes, not requests, so both ends read HTTP/1.1 themselves: requests by h11
(`requests`), answers by `_core.h1`. What that refuses when it reads strictly is kept byte by byte
("raw"), and so is what follows an upgrade: played again, it is refused, or understood, as it was
at first.

Nothing here is thread-safe: a `Recorder` and a `Player` belong to one connection, and who shares a
`Cassette` holds a lock.

docs/cassettes.rst describes the format.
"""
