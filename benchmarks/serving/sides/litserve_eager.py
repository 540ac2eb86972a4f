"""LitServe with the eager network and its own batching."""

# No `from __future__ import annotations`: LitServe reads the annotation as a type. Bytes, as
# neither its base64 in JSON nor a form that it pickles would do it a favour.
from pathlib import Path
from typing import Annotated, Any

import litserve
from fastapi import Body
from torch import Tensor

# Without a wait its loop spins, also where nothing is there to do.
BATCH, WAIT_S = 8, 0.001


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """One worker, all cores: what LitServe does by itself."""

    def __init__(self, run: Path) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=WAIT_S)
        self.run = run

    def setup(self, device: str) -> None:
        """In the worker, once."""
        from benchmarks.serving.sides.plain import Plain

        self.plain = Plain(self.run)

    def decode_request(self, request: Annotated[bytes, Body()]) -> Tensor:
        """Float32 (3, height, width)."""
        return self.plain.tensor(request)

    def batch(self, inputs: list[Tensor]) -> Tensor:
        """Float32 (N, 3, height, width)."""
        import torch

        return torch.stack(inputs)

    def predict(self, batch: Tensor) -> Tensor:
        """Float32 (N, classes)."""
        return self.plain.probabilities(batch)

    def unbatch(self, output: Tensor) -> list[Tensor]:
        """One row a photo."""
        return list(output)

    def encode_response(self, output: Tensor) -> dict[str, Any]:
        """{breed: probability}."""
        return self.plain.labels(output)


def main() -> None:
    """Serve until a signal."""
    from benchmarks.serving.sides.plain import options

    chosen = options()
    server = litserve.LitServer(Classifier(chosen.run), accelerator="cpu")
    server.run(host="127.0.0.1", port=chosen.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
