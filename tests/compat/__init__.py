"""What other packages rely on, frozen as data."""
