"""The network layer: interfaces, the real one on sockets, and one that replays bytes."""
