"""LitServe around our own decoding, preprocessing and engine: what TorchServe costs, or saves."""

# No `from __future__ import annotations`: LitServe reads the annotation as a type.
from pathlib import Path
from typing import Annotated, Any

import litserve
from fastapi import Body
from torch import Tensor

# Without a wait its loop spins, also where nothing is there to do.
BATCH, WAIT_S = 8, 0.001


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """As many workers, and threads of each, as our archive is served by."""

    def __init__(self, model_dir: Path, threads: int) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=WAIT_S)
        self.model_dir, self.threads = model_dir, threads

    def setup(self, device: str) -> None:
        """In the worker, once."""
        from benchmarks.serving.project import Engine

        self.engine = Engine(self.model_dir, self.threads)

    def decode_request(self, request: Annotated[bytes, Body()]) -> Tensor:
        """Float32 (3, height, width)."""
        return self.engine.tensor(request)

    def batch(self, inputs: list[Tensor]) -> Tensor:
        """Float32 (N, 3, height, width)."""
        import torch

        return torch.stack(inputs)

    def predict(self, batch: Tensor) -> Tensor:
        """Float32 (N, classes)."""
        return (self.engine.logits(batch) / self.engine.temperature).softmax(1)

    def unbatch(self, output: Tensor) -> list[Tensor]:
        """One row a photo."""
        return list(output)

    def encode_response(self, output: Tensor) -> dict[str, Any]:
        """{breed: probability}."""
        from benchmarks.serving.project import top

        return dict(top(output.tolist(), self.engine.classes))


def main() -> None:
    """Serve until a signal."""
    from benchmarks.serving.project import workers_and_threads
    from benchmarks.serving.sides.plain import options

    chosen = options()
    workers, threads = workers_and_threads(chosen.model_dir)
    server = litserve.LitServer(
        Classifier(chosen.model_dir, threads), accelerator="cpu", workers_per_device=workers
    )
    server.run(host="127.0.0.1", port=chosen.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
