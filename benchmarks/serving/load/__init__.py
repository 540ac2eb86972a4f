"""Who asks. Generators are programs of their own: what they need of the cores is theirs, and the
same for every side."""
