"""The documents of deploy/kubernetes, and the pods in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]
ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
FOLDERS = ("models", "job", "serve", "ray", "kserve")


def load(path: Path) -> list[Document]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def of(folder: str) -> list[Document]:
    """The documents of a folder, without its kustomization."""
    paths = sorted((FOLDER / folder).glob("*.yaml"))
    return [document for path in paths if path.name != "kustomization.yaml" for document in load(path)]


def everything() -> list[Document]:
    return [document for folder in FOLDERS for document in of(folder)]


def one(kind: str, documents: list[Document] | None = None) -> Document:
    [found] = [found for found in documents or everything() if found["kind"] == kind]
    return found


def kustomization(folder: str) -> Document:
    [found] = load(FOLDER / folder / "kustomization.yaml")
    return found


def settings(folder: str) -> dict[str, str]:
    """What a user sets in a folder's `configMapGenerator`."""
    [generator] = kustomization(folder)["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generator["literals"])


def name_of(document: Document) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def pods(documents: list[Document]) -> dict[str, Document]:
    """The specification of each pod that the documents make, by a name."""
    found: dict[str, Document] = {}
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] in ("Job", "Deployment"):
            found[name_of(document)] = spec["template"]["spec"]
        elif document["kind"] == "Pod":
            found[name_of(document)] = spec
        elif document["kind"] == "RayJob":
            cluster = spec["rayClusterSpec"]
            found["RayJob/submitter"] = spec["submitterPodTemplate"]["spec"]
            found["RayJob/head"] = cluster["headGroupSpec"]["template"]["spec"]
            found["RayJob/worker"] = cluster["workerGroupSpecs"][0]["template"]["spec"]
        elif document["kind"] == "ServingRuntime":
            service = one("InferenceService")["spec"][
                "predictor"
            ]  # KServe merges what it says of the pod and its container
            container = {**spec["containers"][0], "lifecycle": service["model"]["lifecycle"]}
            grace = service["terminationGracePeriodSeconds"]
            found["ServingRuntime"] = {
                "containers": [container],
                "volumes": spec["volumes"],
                "imagePullSecrets": spec["imagePullSecrets"],
                "terminationGracePeriodSeconds": grace,
            }
    return found


def containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def option(container: Document, name: str) -> str:
    """What a container's command gives for an option."""
    args = container["args"]
    return str(args[args.index(name) + 1])
