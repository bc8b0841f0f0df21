"""`whatsit explain`: show where in a picture the evidence for its class lies."""

from __future__ import annotations

import io
from pathlib import Path

from whatsit.errors import ImageError, UsageError
from whatsit.files import write_bytes
from whatsit.images.decode import decode
from whatsit.runtime.explain import Explainer, Explanation
from whatsit.runtime.overlay import draw
from whatsit.runtime.predictor import Predictor

ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def explain(
    model: str | Path | Predictor,
    picture: str | Path,
    out: str | Path | None = None,
    *,
    label: str | None = None,
    runtime: str = "auto",
) -> tuple[Explanation, Path]:
    """Explain one picture, and draw the explanation into a file.

    Args:
        model: a `.whatsit` file, a run folder, or a Predictor.
        picture: a path.
        out: the file to write, .png, .jpg or .webp; `NAME-explained.png` in the current folder by default.
        label: the class to explain, instead of the most probable one.
        runtime: as for the Predictor.

    Returns:
        The explanation, and where its drawing is.

    Raises:
        ImageError: the picture cannot be read.
        BundleError: the model cannot be read.
        ModelError: the model cannot be explained.
        UsageError: the class or the ending of `out` is unknown.
        DiskError: `out` cannot be written.
    """
    target = Path(out) if out else Path(f"{Path(picture).stem}-explained.png")
    if target.suffix.lower() not in ENDINGS:
        raise UsageError(f"{target}: the drawing can be written as {', '.join(ENDINGS)}")
    if target.exists() and Path(picture).exists() and target.samefile(picture):
        raise UsageError(f"{target} is the picture itself; choose another file for the drawing")
    predictor = model if isinstance(model, Predictor) else Predictor(model, runtime=runtime)
    try:
        explanation = Explainer(predictor).explain(picture, label)
        sheet = draw(decode(picture), explanation)
    except ImageError as error:
        raise ImageError(f"{picture}: {error}", error.reason) from None
    file = io.BytesIO()
    sheet.save(file, ENDINGS[target.suffix.lower()], quality=92)
    write_bytes(target, file.getvalue())
    return explanation, target
