"""What the tests stand on: real servers on loopback. Knows nothing of the packages under test."""
