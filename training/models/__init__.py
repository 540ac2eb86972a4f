"""One dependency-free file an architecture; the file travels in the .mar as `architecture.py`."""
