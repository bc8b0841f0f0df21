"""The model card that travels in a bundle (Mitchell et al. 2019)."""

from __future__ import annotations

from whatsit.bundle.format import Bundle


def model_card(bundle: Bundle) -> str:
    """What the model is, what it was trained on and how well it did, as Markdown."""
    made, test = bundle.provenance, bundle.test or {}
    low, high = test["accuracy_ci95"]
    counts = {name: sum(labels.values()) for name, labels in made["data"]["pictures"].items()}
    rows = "\n".join(
        f"| {_cell(label)} | {f['precision']:.3f} | {f['recall']:.3f} | {f['f1']:.3f} | {f['n']} |"
        for label, f in test["per_class"].items()
    )
    return f"""# Image classifier: {_cell(made["data"]["source"])}

Made by whatsit {made["versions"].get("whatsit", "")} on {made["created"]} with the recipe `{made["recipe"]["name"]}`
({made["recipe"]["model"]}, seed {made["recipe"]["seed"]}).

- Answers: {len(bundle.classes)} classes
- Takes: RGB pictures of {bundle.input.width} x {bundle.input.height} pixels, resized by the rule `{bundle.input.resize}`
- Trained on {counts["train"]:,} pictures, chosen by {counts["validation"]:,}, tested on {test["n"]:,}
- Test accuracy: {test["accuracy"]:.1%} (95 % interval {low:.1%} to {high:.1%}); log loss {test["loss"]:.3f}; calibration
  error {test["ece"]:.3f}

| class | precision | recall | F1 | test pictures |
| --- | --- | --- | --- | --- |
{rows}

These figures hold for pictures like the test pictures. The model always names one of its classes, also for a picture
of something else. This file holds {len(bundle.golden)} of the test pictures, as a proof that it answers alike everywhere.
"""


def _cell(text: str) -> str:
    """Text that cannot break out of a Markdown table or become HTML."""
    for character, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        text = text.replace(character, safe)
    return text
