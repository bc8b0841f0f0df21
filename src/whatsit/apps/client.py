"""`Client`: a model of a service, used like a `Predictor`.

It needs no optional package.
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from whatsit.errors import ImageError, ServiceError, UsageError
from whatsit.images.decode import Source, file_of
from whatsit.runtime.predictor import Overruled, Prediction

Item = TypeVar("Item")

_LOT = 32  # pictures a request
_LOT_BYTES = 16 * 1024 * 1024
_TRIES = 6  # while the service is busy
_MOST = 64 * 1024 * 1024  # bytes of an answer
_BUSY = (429, 503)
_BEHIND = (502, 503, 504)  # of a proxy


class _TooLargeError(ServiceError):
    pass


class Client:
    """A model behind a service that `whatsit serve` started.

    Not for several threads at once.
    """

    def __init__(self, url: str, *, model: str | None = None, key: str | None = None, timeout: float = 60.0) -> None:
        """Nothing is sent yet.

        Args:
            url: such as `http://127.0.0.1:8000`.
            model: the name of the model; the service's first by default.
            key: the API key, where the service wants one.
            timeout: seconds to wait for an answer.

        Raises `UsageError` where the address is none.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            port, host = parts.port, (parts.hostname or "").encode("idna").decode()
        except ValueError:  # also of letters and brackets that no host has
            host = ""
        if not host or parts.scheme not in ("http", "https"):
            raise UsageError(f"{url[:200]}: this is no address of a service; it looks like http://127.0.0.1:8000")
        if key and not (key.isascii() and key.isprintable()):
            raise UsageError("the API key has letters that no request can bring; it has a to z and digits")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._prefix = parts.path.rstrip("/")
        self._connection = kind(host, port, timeout=timeout)
        self._model = model
        self._headers = {"X-API-Key": key} if key else {}

    def predict(self, pictures: Sequence[Source], *, top: int = 5, coverage: float | None = None) -> list[Prediction]:
        """Predict each picture, as `Predictor.predict` does.

        Args:
            pictures: paths, bytes of files, open files, PIL images or arrays. A list, even for one.
            top: how many classes to name in `Prediction.top`.
            coverage: also give the set of classes that holds the true one with this probability.

        Returns:
            A prediction for each picture, in order.

        Raises:
            ImageError: a picture cannot be read, here or by the service.
            ServiceError: the service cannot be reached, or refuses.
        """
        if isinstance(pictures, str | bytes | Path):
            raise TypeError(
                "predict takes a list of pictures and gives a list of predictions; write predict([picture])"
            )
        found = []
        for place, answer in self.predict_each(
            range(len(pictures)), lambda place: pictures[place], top=top, coverage=coverage
        ):
            if isinstance(answer, ImageError):
                picture = pictures[place]
                name = str(picture) if isinstance(picture, str | Path) else f"picture {place + 1}"
                raise ImageError(f"{name}: {answer}", answer.reason)
            found.append(answer)
        return found

    def predict_each(
        self, items: Iterable[Item], read: Callable[[Item], Source], *, top: int = 5, coverage: float | None = None
    ) -> Iterator[tuple[Item, Prediction | ImageError]]:
        """Predict like `Predictor.predict_each`; raises `ServiceError`.

        A picture that the service finds too large gets an error, too.
        """
        query = {"top": str(max(top, 1)), **({"coverage": str(coverage)} if coverage is not None else {})}
        for lot in _lots(items, read):
            good = [data for _, data in lot if isinstance(data, bytes)]
            answers = iter(self._ask(good, query)) if good else iter(())
            for item, data in lot:
                yield item, data if isinstance(data, ImageError) else self._answer(next(answers), top)

    def models(self) -> list[dict[str, Any]]:
        """Return the models of the service: name, version, classes, accuracy.

        Raises:
            ServiceError: the service cannot be reached, or refuses.
        """
        found = self._request("GET", "/v1/models")
        if not isinstance(found, dict) or not isinstance(found.get("models"), list):
            raise self._strange()
        return list(found["models"])

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, files: list[bytes], query: dict[str, str]) -> list[dict[str, Any]]:
        if self._model:
            query = {**query, "model": self._model}
        body, kind = _form(files)
        path = f"/v1/predict/batch?{urllib.parse.urlencode(query)}"
        try:
            found = self._request("POST", path, body, kind)
        except _TooLargeError as error:
            if len(files) == 1:
                self.models()  # the connection may have ended because the service has, which this tells
                return [{"error": f"too large for the service {error}", "reason": "too_many_bytes"}]
            half = len(files) // 2  # the service takes less at a time
            return self._ask(files[:half], query) + self._ask(files[half:], query)
        answers = found.get("answers") if isinstance(found, dict) else None
        if not isinstance(answers, list) or len(answers) != len(files):
            raise self._strange()
        return answers

    def _answer(self, found: Any, top: int) -> Prediction | ImageError:
        try:
            return _prediction(found, top)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self._strange() from None

    def _strange(self) -> ServiceError:
        return ServiceError(f"{self.url}: this is no service of whatsit; its answer has another form")

    def _request(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> Any:
        for number in range(1, _TRIES + 1):
            status, headers, data = self._send(method, path, body, kind)
            if status not in _BUSY or number == _TRIES:
                break
            time.sleep(min(_seconds(headers.get("retry-after")), 10.0))
        try:
            found = json.loads(data)
            words = "" if status == 200 else str(found["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            words = f"this is no service of whatsit; it answered {status}"
            if status == 413:  # of a proxy before it
                words = "less is let through at a time"
            elif status in _BEHIND:
                words = f"it answered {status}: the service behind it is not there, or does not answer in time"
        if status == 401 and words:
            words += "; whatsit.Client takes it as key=..., whatsit predict from WHATSIT_API_KEY"
        if words:
            raise (_TooLargeError if status == 413 else ServiceError)(f"{self.url}: {words[:500]}")
        return found

    def _send(
        self, method: str, path: str, body: bytes | None, kind: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = {**self._headers, **({"Content-Type": kind} if kind else {})}
        for fresh in (False, True):  # a kept connection may have been closed by the other side meanwhile
            cut = False
            try:
                if self._connection.sock is None:
                    self._connection.connect()
                try:
                    self._connection.request(method, self._prefix + path, body, headers)
                except (BrokenPipeError, ConnectionResetError, ConnectionAbortedError):
                    cut = body is not None  # it may have answered before it had read all
                response = self._connection.getresponse()
                data = response.read(_MOST)
                if len(data) == _MOST:
                    raise http.client.HTTPException("its answer is too large")
                return response.status, response.headers, data
            except (http.client.HTTPException, OSError, UnicodeError) as error:
                self._connection.close()
                if fresh or isinstance(error, TimeoutError | ConnectionRefusedError):
                    if cut:
                        raise _TooLargeError(f"{self.url}: it ends the connection before it has read all") from None
                    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    raise ServiceError(f"{self.url}: the service cannot be reached: {reason}") from None
        raise AssertionError


def _lots(items: Iterable[Item], read: Callable[[Item], Source]) -> Iterator[list[tuple[Item, bytes | ImageError]]]:
    lot: list[tuple[Item, bytes | ImageError]] = []
    size = 0
    for item in items:
        try:
            data: bytes | ImageError = file_of(read(item))
        except ImageError as error:
            data = error
        length = len(data) if isinstance(data, bytes) else 0
        if lot and (len(lot) == _LOT or size + length > _LOT_BYTES):
            yield lot
            lot, size = [], 0
        lot.append((item, data))
        size += length
    if lot:
        yield lot


def _form(files: list[bytes]) -> tuple[bytes, str]:
    boundary = secrets.token_hex(16)
    parts = []
    for number, data in enumerate(files):
        parts += [
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{number}"\r\n\r\n'.encode(),
            data,
            b"\r\n",
        ]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def _prediction(found: dict[str, Any], top: int) -> Prediction | ImageError:
    if "error" in found:
        return ImageError(str(found["error"]), str(found.get("reason", "unreadable")))
    guesses = tuple((str(guess["label"]), float(guess["probability"])) for guess in found["top"])
    labels = found.get("set")
    return Prediction(
        str(found["label"]),
        float(found["probability"]),
        bool(found["unknown"]),
        guesses[:top],
        tuple(labels) if labels is not None else None,
        Overruled(str(other["label"]), *(float(other[name]) for name in ("probability", "cost", "answer_cost")))
        if (other := found.get("overruled"))
        else None,
    )


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 1.0))
    except ValueError:
        return 1.0
