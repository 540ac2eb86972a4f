"""Rolls versions of a model out on a running server, and back."""
