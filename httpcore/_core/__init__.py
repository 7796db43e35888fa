"""Everything that decides and computes: no I/O, no locks, no clock (`now` is passed in).

Owns: the codecs, the scheduler, the scripts of opening a connection, and what to do next. The
shells in `_sync` and `_async` wait, and carry out what is decided here.
"""
