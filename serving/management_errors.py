"""What can go wrong with a call of TorchServe's management API.

    ManagementError
      NoAnswer            nobody listens, the connection broke, or the time was up
      UnexpectedAnswer    not what TorchServe says
      TokenRefused        wrong, expired or missing
      ModelNotFound       no such model, or no such version of it
      AlreadyRegistered   the model has that version
      LoadFailed          the archive is not there or does not load, or its workers do not start
      BadRequest          refused for another reason, as removing a default version
      ServerFailed        an error of TorchServe itself

Statuses and types of errors are those that TorchServe 0.12 was seen to send.
"""
# The names say what happened, and stand where `Error` would only be repeated: ManagementError.
# ruff: noqa: N818

from __future__ import annotations

from collections.abc import Container
from typing import Any

SERVER_ERRORS = range(500, 600)
_TOKEN_REFUSED = "InvalidKeyException"  # noqa: S105 - a type of error
_BAD_REQUEST = "BadRequestException"


class ManagementError(Exception):
    """TorchServe refused, or did not answer.

    Attributes:
        status: HTTP status, or None without an answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NoAnswer(ManagementError):
    """Nobody listens, the connection broke, or the time was up. The call may have been done."""


class UnexpectedAnswer(ManagementError):
    """An answer that is not TorchServe's; `status` is what came with it."""


class TokenRefused(ManagementError):
    """The token is wrong, expired or missing (400)."""


class ModelNotFound(ManagementError):
    """There is no such model, or no such version of it (404)."""


class AlreadyRegistered(ManagementError):
    """The model has that version already (409)."""


class LoadFailed(ManagementError):
    """The archive is not there or does not load (400, 404), or its workers do not start (500).

    In the last case TorchServe may or may not go on knowing the version, without workers.
    """


class BadRequest(ManagementError):
    """Refused for another reason, as removing the default of several versions (403)."""


class ServerFailed(ManagementError):
    """An error of TorchServe itself."""


def refusal(
    status: int,
    answer: Any,  # noqa: ANN401 - parsed JSON, or None
    load_failures: Container[int] = (),
    secret: str = "",
) -> ManagementError:
    """The error that an answer of 400 or more tells.

    Args:
        load_failures: statuses by which this call says that something does not load.
        secret: does not get into the message, whatever the answer repeats.
    """
    told = answer if isinstance(answer, dict) else {}
    message = str(told.get("message") or f"HTTP {status}")
    if secret:
        message = message.replace(secret, "[token]")
    return _class_of(status, told.get("type"), load_failures)(message, status)


def _class_of(status: int, kind: object, load_failures: Container[int]) -> type[ManagementError]:
    if status == 400 and kind == _TOKEN_REFUSED:
        return TokenRefused
    if status == 400 and kind == _BAD_REQUEST:
        return BadRequest
    if status in load_failures:
        return LoadFailed
    if status in SERVER_ERRORS:
        return ServerFailed
    return {404: ModelNotFound, 409: AlreadyRegistered}.get(status, BadRequest)
