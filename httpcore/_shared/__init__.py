"""The part that the synchronous and the asynchronous shell share: locks, and no waiting for the
network."""
