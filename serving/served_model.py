"""A model of a running service, as `catbreeds evaluate` sees it.

Answers hold probabilities of six digits, no logits: what needs these is left out of the report.
TorchServe on this machine, as `catbreeds serve` starts it, tells the whole model card. A gateway
tells less: not the temperature, nor how the photos of the training were split. One version is asked
throughout: a canary would otherwise answer some of the photos.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from PIL import Image

from serving import state
from serving.http import call
from serving.inference import InferenceClient, Prediction, ServiceError
from serving.management import ManagementClient

_TIMEOUT_S = 30.0
# Before a photo is sent again that a limit on the rate or a full queue has turned away.
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_TURNED_AWAY = (429, 503)
_NOT_TAKEN = (413, 415)
_BAD_OPTION = 422
_UNDECODABLE = "urn:catbreeds:problem:undecodable-image"


class ServedModelError(Exception):
    """The service does not tell what is needed of its model; the message says what can be done."""


@dataclass(frozen=True)
class ServedModel:
    """One version of one model.

    Attributes:
        name: what it is registered as.
        card: the model card, or what a gateway tells of it.
        remarks: what a reader of figures must know, a sentence each.
    """

    client: InferenceClient
    name: str
    version: str
    card: Mapping[str, Any]
    remarks: tuple[str, ...] = ()

    @classmethod
    def find(cls, url: str, model: str | None, version: str | None) -> ServedModel:
        """The model to ask at an address.

        Args:
            url: of TorchServe's inference API on this machine, or of a gateway.
            model: the service's first where None.
            version: the default where None.

        Raises:
            ServiceError: nobody answers there.
            ServedModelError: not a service that tells of its models, or not that model.
            ManagementError, TokenError: TorchServe refuses to tell.
        """
        url = url.rstrip("/")
        client = InferenceClient(url)
        if client.is_gateway:
            return cls._of_gateway(client, url, model, version)
        record = state.read_record(url)
        if record is None:
            raise ServedModelError(
                f"{url}: neither a gateway nor a `catbreeds serve` of this user on this machine, "
                "so that the model card cannot be read; the archive itself can be evaluated"
            )
        name = model or next(iter(record.models), None)
        if name is None:
            raise ServedModelError(f"{url}: serves no model")
        folder = state.folder_of(url)
        management = ManagementClient(
            record.management, lambda: state.read_token(folder, "management")
        )
        version = version or management.default_version(name)
        return cls(client, name, version, management.customized(name, version))

    @classmethod
    def _of_gateway(
        cls, client: InferenceClient, url: str, model: str | None, version: str | None
    ) -> ServedModel:
        try:
            answer = call("GET", f"{url}/api/models", None, _TIMEOUT_S)
            models = {each["name"]: each for each in json.loads(answer.content)["models"]}
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise ServedModelError(f"{url}/api/models: does not tell the models") from error
        name = model or next(iter(models), None)
        if name is None or name not in models:
            raise ServedModelError(f"{url}: model {name!r} is not served; {list(models)} are")
        version = version or str(models[name]["default"])
        remarks = ["A gateway does not tell the temperature, nor how the photos were split."]
        if version != models[name]["default"]:
            remarks.append("The threshold named is that of the default version.")
        card = {**models[name], "version": version}
        return cls(client, name, version, card, tuple(remarks))

    def classes(self) -> tuple[str, ...]:
        """Names in the order of the model's classes, by asking for a grey picture.

        Raises:
            ServiceError: no answer.
            ServedModelError: answers with less than all classes.
        """
        file = io.BytesIO()
        Image.new("RGB", (64, 64), "grey").save(file, "PNG")
        listed = self._predict(file.getvalue()).answer["predictions"]
        return tuple(each["breed"] for each in sorted(listed, key=lambda each: each["class_id"]))

    def ask(self, photo: bytes) -> Mapping[str, Any] | str:
        """The answer's JSON with all classes, or why this photo has none.

        Raises:
            ServiceError: the service fails, rather than the photo.
        """
        for pause in (*_PAUSES_S, None):
            try:
                return self._predict(photo).answer
            except ServiceError as error:
                if error.status in _NOT_TAKEN or error.problem.get("type") == _UNDECODABLE:
                    return str(error.problem.get("detail") or error)
                if error.status not in _TURNED_AWAY or pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _predict(self, photo: bytes) -> Prediction:
        classes = int(self.card["classes"])
        try:
            prediction = self.client.predict(photo, self.name, self.version, classes)
        except ServiceError as error:
            # How many classes are wanted is the only option that is sent.
            if error.status != _BAD_OPTION:
                raise
            raise ServedModelError(
                f"{self.name} {self.version}: does not answer all of its {classes} classes, as its "
                f"`limits.top_k` may forbid ({error}); its archive can be evaluated"
            ) from error
        if not prediction.version:
            raise ServedModelError(
                f"{self.name} {self.version}: answers with labels alone (`response: labels`), "
                "which do not tell whether an answer is unsure; its archive can be evaluated"
            )
        return prediction
