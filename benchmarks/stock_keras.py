"""`whatsit train` beside the stock Keras recipe for transfer learning.

Both use the same data and the same MobileNetV2 weights, in one run.

The stock recipe is the one of the Keras guides: pictures read by `image_dataset_from_directory` at 224 px, flip,
rotation and zoom as layers, a frozen MobileNetV2 under global average pooling and dropout, 5 epochs; then the top
layers unfrozen for 2 more at a low learning rate.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

from process import run, run_cold
from record import Figure, add_option, save


def stock(folder: Path, weights: Path, seed: int) -> None:
    """Train the stock recipe and print its accuracy as JSON.

    The folder has train/, validation/ and test/.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)

    def read(part: str) -> object:
        data = keras.utils.image_dataset_from_directory(
            folder / part, image_size=(224, 224), shuffle=part == "train", verbose=False
        )
        return data.prefetch(2)

    train, validation, test = map(read, ("train", "validation", "test"))
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(224, 224, 3))
    base.load_weights(weights)
    base.trainable = False
    image = keras.Input((224, 224, 3))
    x = image
    for layer in (layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)):
        x = layer(x)
    x = base(layers.Rescaling(1 / 127.5, -1)(x), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(2, activation="softmax")(x))
    for epochs, rate in ((5, 1e-3), (2, 1e-5)):
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(train, validation_data=validation, epochs=epochs, verbose=0)
        base.trainable = True
        for layer in base.layers[:-20]:
            layer.trainable = False
    print(json.dumps({"accuracy": model.evaluate(test, verbose=0)[1]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="a zip of class folders")
    parser.add_argument("weights", type=Path, help="of MobileNetV2 without its top, as a Keras weights file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stock", type=Path, help=argparse.SUPPRESS)
    add_option(parser)
    options = parser.parse_args()
    if options.stock:
        stock(options.stock, options.weights, options.seed)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = ["train", str(options.data), "--seed", str(options.seed), "--json"]
        mobilenet = [
            "--backbone",
            "mobilenetv2",
            "--weights",
            str(options.weights),
            "--out",
            str(folder / "mobilenetv2"),
        ]
        runs = {
            "whatsit, MobileNetV2": run_cold([*arguments, *mobilenet], folder),
            "whatsit, default": run_cold([*arguments, "--out", str(folder / "default")], folder),
        }
        pictures = same_split(options.data, folder / "mobilenetv2" / "split.csv", folder / "pictures")
        command = [sys.executable, __file__, str(options.data), str(options.weights), "--stock", str(pictures)]
        theirs = run([*command, "--seed", str(options.seed)])
        accuracy = json.loads(theirs.stdout.splitlines()[-1])["accuracy"]
        figures = [
            Figure("stock Keras, MobileNetV2: test accuracy", 100 * accuracy, "%"),
            Figure("stock Keras, MobileNetV2: whole process", theirs.seconds, "s"),
        ]
        print(
            f"{'stock Keras, MobileNetV2':26s} accuracy {accuracy:.4f}  {theirs.seconds:6.1f} s  peak {theirs.peak_mb:5.0f} MB"
        )
        for label, ours in runs.items():
            accuracy = json.loads(ours.stdout)["test"]["accuracy"]
            ratio = theirs.seconds / ours.seconds
            figures += [
                Figure(f"{label}: test accuracy", 100 * accuracy, "%"),
                Figure(f"{label}: whole process, cold cache", ours.seconds, "s"),
                Figure(f"{label}: beside stock Keras", ratio, "times"),
            ]
            print(
                f"{label:26s} accuracy {accuracy:.4f}  {ours.seconds:6.1f} s  peak {ours.peak_mb:5.0f} MB  {ratio:.1f} x as fast"
            )

        save(options.record, "Beside the stock Keras recipe, same pictures, same split, one run", figures)


def same_split(archive: Path, split: Path, folder: Path) -> Path:
    """The pictures of the zip in train/, validation/ and test/, as whatsit split them."""
    import csv

    with zipfile.ZipFile(archive) as pictures, split.open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            place = folder / row["split"] / row["label"]
            place.mkdir(parents=True, exist_ok=True)
            (place / Path(row["path"]).name).write_bytes(pictures.read(row["path"]))
    return folder


if __name__ == "__main__":
    main()
