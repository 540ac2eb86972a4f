"""What was measured, against what, and how. Only `catbreeds bench` and `load` import it."""
