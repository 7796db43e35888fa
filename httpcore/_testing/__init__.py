"""Cassettes, recording and logging of the network: for tests, loaded only when used."""
