"""Which requests a version on trial (a canary) answers, beside the default."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

if TYPE_CHECKING:  # it holds canaries itself
    from serving.state import ServerRecord


@dataclass(frozen=True)
class Canary:
    """A version that answers a share of the clients for a while.

    It is a lease: the command that tries the version renews it, so that it ends with the command,
    also where that is killed.

    Attributes:
        share: of the clients, 0 to 1.
        until: when it ends unless it is renewed, in seconds since 1970.
    """

    version: str
    share: Annotated[float, Field(ge=0, le=1)]
    until: Annotated[float, Field(allow_inf_nan=False)]


def canary_version(record: ServerRecord, model: str, client: str, now: float) -> str | None:
    """The version that is to answer this client's requests that name none; None: the default.

    A client stays where it is: it is asked of a hash of its name, not of chance. Where the share
    grows, more clients come to the canary and none leaves it. Another version draws other clients.

    Args:
        client: what tells one client from others.
        now: in seconds since 1970.
    """
    canary = record.canaries.get(model)
    if canary is None or now >= canary.until:
        return None
    drawn = hashlib.sha256(f"{model}\0{canary.version}\0{client}".encode("utf-8", "replace"))
    place = int.from_bytes(drawn.digest()[:8])
    return canary.version if place < canary.share * 2**64 else None
