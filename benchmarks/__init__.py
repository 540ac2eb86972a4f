"""What was measured, against what, and how. Nothing imports this but `catbreeds bench`."""
