"""The gateway's settings: each from an environment variable, or an option of `catbreeds web`."""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from limits import parse_many
from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from serving.http import is_local
from serving.settings import DEFAULT_WEB_PORT

Network = IPv4Network | IPv6Network
Networks = Annotated[tuple[Network, ...], NoDecode]
Names = Annotated[tuple[str, ...], NoDecode]

PREFIX = "CATBREEDS_WEB_"


class Settings(BaseSettings):
    """All settings of one gateway; lists are written with commas between.

    Raises:
        pydantic.ValidationError: names the setting, the value and what is allowed.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    # Where it listens
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=DEFAULT_WEB_PORT, ge=0, le=65535, description="Port to listen on.")
    certificate: Path | None = Field(default=None, description="PEM chain, to serve HTTPS.")
    private_key: Path | None = Field(default=None, description="PEM key of the certificate.")
    plain_http: bool = Field(
        default=False,
        description="Allow plain HTTP beyond loopback, behind something that speaks TLS.",
    )
    trusted_proxies: Networks = Field(
        default=(), description="Addresses or networks whose X-Forwarded-For names the client."
    )

    # Whom it asks
    torchserve: str = Field(
        default="http://127.0.0.1:8080", description="TorchServe's inference API."
    )
    token_file: Path | None = Field(
        default=None,
        description="File with its Authorization line; else a local server's is found.",
    )
    models: Names = Field(default=(), description="Models to offer; else those of a local server.")
    server_folder: Path | None = Field(
        default=None,
        description="Folder that a server keeps by --gateway-folder, in place of both.",
    )

    origins: Names = Field(
        default=(), description="Origins of other sites whose scripts may use the API (CORS)."
    )

    # How much a request may be
    photo_bytes: int = Field(default=16 * 2**20, ge=1, description="Bytes of one photo.")
    request_bytes: int = Field(default=64 * 2**20, ge=1, description="Bytes of one request's body.")
    photos: int = Field(default=32, ge=1, le=1000, description="Photos of one request.")
    header_bytes: int = Field(
        default=32 * 2**10, ge=1024, description="Bytes of a request's headers."
    )
    header_s: float = Field(default=10, gt=0, description="Seconds for the headers of a request.")
    idle_s: float = Field(default=10, gt=0, description="Seconds without a byte of an upload.")
    upload_s: float = Field(default=120, gt=0, description="Seconds for a whole upload.")
    # Less than a stop waits for requests in work.
    answer_s: float = Field(default=25, gt=0, description="Seconds for TorchServe to answer.")

    # How much at once
    connections: int = Field(default=1000, ge=1, description="Open connections.")
    client_connections: int = Field(
        default=100,
        ge=0,
        description="Open connections of one address; no limit behind trusted proxies, or with 0.",
    )
    photos_at_once: int = Field(
        default=64,
        ge=1,
        description="Photos in work at once; one more gets 503.",
    )
    # Two full batches of a model that does 40 photos/s. With half of it such a model got no full
    # batches, and did 0.8 of what it can; more is waited for in vain.
    queue_s: float = Field(
        default=0.4,
        gt=0,
        description="Seconds that a photo may be expected to wait for those before it; above, it "
        "gets 503. Half as long again for a client that has none there; eight may always be ahead.",
    )
    torchserve_photos: int = Field(
        default=16,
        ge=1,
        description="Photos at TorchServe at once; the others wait here, where those of a client "
        "that leaves are dropped.",
    )
    client_photos_at_once: int = Field(
        default=40, ge=1, description="Photos in work at once of one client; one more gets 429."
    )
    upload_memory: int = Field(
        default=512 * 2**20,
        ge=1,
        description="Bytes of all uploads that are held in memory at once.",
    )
    client_upload_memory: int = Field(
        default=160 * 2**20, ge=1, description="The same for one client."
    )
    rate: str = Field(
        default="600/minute", description="Photos that one client may send; none for no limit."
    )

    # Photos by address
    fetch: bool = Field(
        default=False, description="Take a photo's https address instead of the photo."
    )
    fetch_s: float = Field(default=10, gt=0, description="Seconds to fetch one.")
    fetch_redirects: int = Field(default=3, ge=0, le=10, description="Redirects to follow for one.")

    # What it tells
    ready_every_s: float = Field(
        default=5, gt=0, description="Seconds between looks at each model."
    )
    metrics_from: Networks = Field(
        default=(IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        description="Networks that may read /metrics; others get 404.",
    )
    log_format: Literal["plain", "json"] = Field(
        default="plain", description="Form of the log's lines."
    )

    @field_validator("trusted_proxies", "models", "origins", "metrics_from", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("torchserve")
    @classmethod
    def _check_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port:
                return value
        except ValueError:
            pass
        raise ValueError("must be as http://127.0.0.1:8080")

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, value: str) -> str:
        if value != "none":
            try:
                (_,) = parse_many(value)
            except ValueError:
                raise ValueError("must be as 600/minute or 10/second, or none") from None
        return value

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        known = {f"{PREFIX}{name.upper()}" for name in type(self).model_fields}
        for name in os.environ:
            if name.upper().startswith(PREFIX) and name.upper() not in known:
                raise ValueError(f"{name}: is no setting; there are {', '.join(sorted(known))}")
        return self

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key: give both or none")
        if not (self.token_file or self.server_folder) and not is_local(self.torchserve):
            raise ValueError(
                f"torchserve={self.torchserve} is another machine: give server_folder or "
                "token_file; the token of a server on this one is not sent there"
            )
        if not is_loopback(self.host) and self.certificate is None and not self.plain_http:
            raise ValueError(
                f"host={self.host} is reachable from other machines: give certificate and "
                "private_key, or plain_http where something before the gateway speaks TLS"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
