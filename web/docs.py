"""The API's description: /openapi.json, and /docs to read and try it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, Response

from web import schemas

router = APIRouter()

# Swagger UI itself, from a package: the page asks no other host for anything.
STATIC = Path(str(files("fastapi_offline") / "static"))
_PAGE = Path(__file__).parent / "templates" / "docs.html"


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """Swagger UI over /openapi.json."""
    return FileResponse(_PAGE, media_type="text/html")


def describe(app: FastAPI) -> None:
    """Add to the description what no route declares: the shape of problems."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        schema["components"]["schemas"].setdefault("Problem", schemas.Problem.model_json_schema())
        return schema

    # The way that FastAPI documents (https://fastapi.tiangolo.com/how-to/extending-openapi/).
    app.openapi = openapi  # type: ignore[method-assign]
