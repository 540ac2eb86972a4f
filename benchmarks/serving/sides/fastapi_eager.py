"""FastAPI and uvicorn as the tutorials have it: an upload, a `def` endpoint, the eager network."""

from typing import Annotated

import uvicorn
from fastapi import FastAPI, File

from benchmarks.serving.sides.plain import Plain, options


def main() -> None:
    """Serve until a signal."""
    chosen = options()
    plain = Plain(chosen.run)
    app = FastAPI()

    @app.post("/classify")
    def classify(file: Annotated[bytes, File()]) -> dict[str, float]:
        return plain.labels(plain.probabilities(plain.tensor(file)[None])[0])

    uvicorn.run(app, host="127.0.0.1", port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
