"""The original cat-breeds project's server, written again from what it does.

Flask's own server, a thread a request, a form with the photo, one photo at a time through the
eager network, five lines "<breed> NN%". Its random flip at inference and the uploads that it left
on the disk are left out: they would make it slower, and its answers differ from call to call.
"""

from __future__ import annotations

from flask import Flask, request

from benchmarks.serving.sides.plain import Plain, options


def main() -> None:
    """Serve until a signal."""
    chosen = options()
    plain = Plain(chosen.run)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024 * 1024

    @app.post("/")
    def classify() -> str:
        batch = plain.tensor(request.files["file"].read())[None]
        best = plain.labels(plain.probabilities(batch)[0])
        return "\n".join(f"{breed} {100 * share:.0f}%" for breed, share in best.items())

    app.run(host="127.0.0.1", port=chosen.port)


if __name__ == "__main__":
    main()
