"""What the gateway itself refuses or cannot do, in the shape of the handler's problems.

Problem (handlers/problems.py)
  NotFound          404  no such path, model or version
  MethodNotAllowed  405
  UploadTimeout     408  the body did not come in time
  UrlRefused        422  an address that must not be fetched
  UrlFailed         422  an address that gave no photo
  BadAnswer         502  TorchServe answered what it should not
  UpstreamTimeout   504  TorchServe did not answer in time
  RetryLater             the same request may work after `retry_after_s`
    RateLimited     429  too many photos of this client
    Overloaded      503  too much at once
    Unavailable     503  TorchServe or the model is not there
"""

from __future__ import annotations

from handlers.problems import Problem


class NotFound(Problem):
    """No such path, model or version."""

    status = 404
    slug = "not-found"
    title = "There is nothing here."


class MethodNotAllowed(Problem):
    """The path is there, for another method."""

    status = 405
    slug = "method-not-allowed"
    title = "The path does not take this method."


class UploadTimeout(Problem):
    """The body stopped coming, or took too long."""

    status = 408
    slug = "upload-timeout"
    title = "The upload took too long."


class UrlRefused(Problem):
    """An address that must not be fetched, whatever lies behind it."""

    status = 422
    slug = "url-refused"
    title = "This address is not fetched."


class UrlFailed(Problem):
    """An address that gave no photo."""

    status = 422
    slug = "url-failed"
    title = "The photo could not be fetched."


class BadAnswer(Problem):
    """TorchServe answered with something that is neither a result nor a problem."""

    status = 502
    slug = "bad-answer"
    title = "The model server gave no usable answer."


class UpstreamTimeout(Problem):
    """TorchServe did not answer in time."""

    status = 504
    slug = "upstream-timeout"
    title = "The model server took too long."


class RetryLater(Problem):
    """Base of those that may go well a little later.

    Attributes:
        retry_after_s: whole seconds, as in the header Retry-After (RFC 9110, 10.2.3).
    """

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class RateLimited(RetryLater):
    """This client has sent more photos than it may."""

    status = 429
    slug = "rate-limited"
    title = "Too many photos from this client."


class Overloaded(RetryLater):
    """More is being worked on than the server takes at once."""

    status = 503
    slug = "overloaded"
    title = "The service has too much to do."


class Unavailable(RetryLater):
    """TorchServe does not answer, or has no worker for the model."""

    status = 503
    slug = "unavailable"
    title = "The model server is not there."
