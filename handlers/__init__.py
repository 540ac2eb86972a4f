"""Code that runs inside a TorchServe worker: it travels in every .mar and imports nothing else."""
