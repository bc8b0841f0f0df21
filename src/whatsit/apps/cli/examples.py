"""Two examples for the help of each command."""

from __future__ import annotations

EXAMPLES = {
    "demo": ("whatsit demo", "whatsit demo --out runs/digits"),
    "train": (
        "whatsit train photos/ --time-limit 20m --out runs/food",
        "whatsit train photos/ --update runs/food --only-if-better",
    ),
    "evaluate": ("whatsit evaluate runs/food new-photos/", "whatsit evaluate runs/food new-photos/ --json"),
    "check": ("whatsit check runs/food", "whatsit check runs/food --criteria shop.toml"),
    "predict": (
        "whatsit predict runs/food lunch.jpg",
        "whatsit predict runs/food photos/ --sort-into sorted --sure 0.9",
    ),
    "explain": ("whatsit explain runs/food lunch.jpg", "whatsit explain runs/food lunch.jpg --label curry -o why.png"),
    "similar": ("whatsit similar runs/food lunch.jpg photos/", "whatsit similar runs/food lunch.jpg photos/ -n 30"),
    "watch": (
        "whatsit watch runs/food inbox/ --csv answers.csv",
        "whatsit watch runs/gate cameras/ --to https://example.org/hook --crop 25%,0%,50%,100% --steady 3",
    ),
    "suggest": (
        "whatsit suggest runs/food photos/",
        "whatsit suggest runs/food photos/ -n 100 --csv next.csv --copy-to next",
    ),
    "explore": ("whatsit explore photos/", "whatsit explore photos/ --out report"),
    "tune": ("whatsit tune photos/ --trials 30", "whatsit tune photos/ --time-limit 30m --workers 2"),
    "export": ("whatsit export runs/food --format tflite", "whatsit export runs/food --format onnx,openvino-int8"),
    "verify": ("whatsit verify runs/food", "whatsit verify runs/food --json"),
    "benchmark": ("whatsit benchmark runs/food", "whatsit benchmark runs/food --json"),
    "compare": (
        "whatsit compare runs/old runs/new new-photos/",
        "whatsit compare runs/old runs/new new-photos/ --out compare.html",
    ),
    "rename": (
        "whatsit rename runs/pets cat=แมว dog=หมา -o pets.whatsit",
        "whatsit rename runs/fruit fuji=apple gala=apple -o fruit.whatsit",
    ),
    "costs": (
        "whatsit costs runs/mushrooms costs.toml -o careful.whatsit",
        "whatsit costs careful.whatsit --remove --data photos/ -o plain.whatsit",
    ),
    "ensemble": (
        "whatsit ensemble runs/one runs/two -o runs/both",
        "whatsit ensemble runs/one runs/two -o both.whatsit --data photos/",
    ),
    "import": (
        "whatsit import model.onnx --labels labels.txt -o model.whatsit",
        "whatsit import yolo.onnx --calibrate photos/ -o yolo.whatsit",
    ),
    "runs": ("whatsit runs --sort accuracy", "whatsit runs diff runs/one runs/two"),
    "track": ("whatsit track runs/food", "whatsit track runs/one runs/two"),
    "shard": ("whatsit shard photos/ --out lists/photos", "whatsit shard s3://museum/scans --out lists/scans"),
    "answers": ("whatsit answers answers/", "whatsit answers answers/ --csv answers.csv"),
    "serve": ("whatsit serve runs/food", "whatsit serve runs/food runs/fruit --port 8080"),
    "gradio": ("whatsit gradio runs/food", "whatsit gradio runs/food --port 7861"),
    "cache": ("whatsit cache", "whatsit cache features --clear"),
    "checks": ("whatsit checks", "whatsit checks --json > machine.json"),
    "app": ("whatsit app runs/food", "whatsit app --teach my-things/"),
}


def examples_of(command: str) -> str:
    """Return the end of a command's help."""
    return "\b\nExamples:\n" + "".join(f"  {line}\n" for line in EXAMPLES[command])
