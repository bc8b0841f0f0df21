"""The same bundle behind LitServe, for `service.py --peer PYTHON`.

The environment of that Python needs litserve and whatsit.
"""

import sys
from typing import Any

import litserve
import numpy as np
from fastapi import UploadFile

import whatsit
from whatsit.images.decode import decode


class Api(litserve.LitAPI):  # type: ignore[misc]
    """A file of a form in, its label and probability out, in batches."""

    def setup(self, device: str) -> None:
        self.predictor = whatsit.load(sys.argv[1])

    def decode_request(self, request: UploadFile) -> Any:
        return decode(request.file.read(), self.predictor.size)

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, batch: Any) -> Any:
        return self.predictor.answer(batch)

    def unbatch(self, output: Any) -> list[Any]:
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        answer = self.predictor.to_prediction(output)
        return {"label": answer.label, "probability": answer.probability}


if __name__ == "__main__":
    litserve.LitServer(Api(max_batch_size=8, batch_timeout=0.0), accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning"
    )
