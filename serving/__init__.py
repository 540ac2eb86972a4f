"""Starts TorchServe, talks to it, and holds the command line."""
