"""From photos to a checkpoint to a .mar. Nothing here is imported at serving time."""

import os

# Read when torch is imported. OpenMP's threads otherwise spin while they wait for each other: on a
# machine that others use as well, training then crawls (measured: a tenth of the rate).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
