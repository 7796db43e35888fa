"""Inputs that nobody wrote: each target takes bytes, and fails where a promise does not hold.

A target is a module with `one(data)`, `seeds()`, which gives small inputs to begin with, and
`TOKENS`, pieces that inputs of its kind are made of. `targets.TARGETS` names them all.
``scripts/fuzz`` runs them for long, `test_fuzz` for a moment.
"""
