"""The public gateway and the page."""
