"""A model reads pictures by the rule that it was trained with, whatever came later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import encode, shapes
from whatsit.bundle.read import read_bundle
from whatsit.images.decode import RESIZE_RULE, RULES, decode
from whatsit.runtime.predictor import Predictor

# Grey of 0 to 1, which the first rule reads as black.
PICTURE = encode((shapes("disc", 1)[..., 0] / 255).astype(np.float32), "TIFF")


def test_new_models_have_the_newest_rule(baseline_run) -> None:
    assert read_bundle(baseline_run.model).input.resize == RESIZE_RULE == RULES[-1]


@pytest.mark.parametrize("rule", RULES)
def test_every_way_of_a_model_reads_by_its_rule(rule: str, baseline_run) -> None:
    bundle = read_bundle(baseline_run.model)
    predictor = Predictor(replace(bundle, input=replace(bundle.input, resize=rule)))
    [wanted] = predictor.answer(decode(PICTURE, predictor.size, rule=rule)[None])
    [alone] = predictor.predict([PICTURE])
    [(_, streamed)] = predictor.answers_each([PICTURE], lambda data: data)
    assert alone.probability == pytest.approx(wanted.probabilities.max(), abs=1e-5)
    assert np.allclose(streamed.probabilities, wanted.probabilities, atol=1e-5)
