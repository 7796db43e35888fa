"""Other projects' own test suites, run with our adapter in place: see docs/downstream.rst."""
