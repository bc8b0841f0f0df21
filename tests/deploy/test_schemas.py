"""Every document of deploy/kubernetes is what Kubernetes, or the owner of its kind, takes: strictly, without a cluster."""

from __future__ import annotations

from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.deploy.custom_kinds import SCHEMAS
from tests.deploy.documents import FOLDER, FOLDERS, Document, everything, kustomization, load, name_of, one, pods

VERSIONS = (
    "1.33",
    kubernetes_validate.latest_version(),
)  # the oldest that docs/how-to/kubernetes.md names, and the newest
DOCUMENTS = {name_of(document): document for document in everything()}
CORE = {name: document for name, document in DOCUMENTS.items() if document["kind"] not in SCHEMAS}
CUSTOM = {name: document for name, document in DOCUMENTS.items() if document["kind"] in SCHEMAS}
PODS = pods(everything())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CORE)
def test_kinds_of_kubernetes(name: str, version: str) -> None:
    kubernetes_validate.validate(CORE[name], version, strict=True)


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_kinds(name: str) -> None:
    jsonschema.validate(CUSTOM[name], SCHEMAS[CUSTOM[name]["kind"]], jsonschema.Draft202012Validator)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", PODS)
def test_pods_in_any_kind(name: str, version: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": PODS[name]}
    kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_autoscaler_that_keda_makes(version: str) -> None:
    scaled = one("ScaledObject")["spec"]
    config = scaled["advanced"]["horizontalPodAutoscalerConfig"]
    target = {"type": "AverageValue", "averageValue": scaled["triggers"][0]["metadata"]["threshold"]}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": config["name"]},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", **scaled["scaleTargetRef"]},
            "minReplicas": scaled["minReplicaCount"],
            "maxReplicas": scaled["maxReplicaCount"],
            "metrics": [{"type": "External", "external": {"metric": {"name": "s0-prometheus"}, "target": target}}],
            "behavior": config["behavior"],
        },
    }
    kubernetes_validate.validate(autoscaler, version, strict=True)
    assert "replicas" not in one("Deployment")["spec"]  # each `kubectl apply` would take back what it did


@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomization_has_every_document(folder: str) -> None:
    files = {path.name for path in (FOLDER / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization(folder)["resources"]) == files
    assert kustomization(folder)["namespace"] == "whatsit"


@pytest.mark.parametrize("change", [{"polingInterval": 5}, {"triggers": []}, {"minReplicaCount": "2"}])
def test_what_is_misspelt_or_misplaced_is_found(change: dict[str, Any]) -> None:
    wrong: Document = {**one("ScaledObject"), "spec": {**one("ScaledObject")["spec"], **change}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMAS["ScaledObject"], jsonschema.Draft202012Validator)


def test_files_are_read_as_yaml_means_them() -> None:
    for path in FOLDER.rglob("*.yaml"):
        assert len(load(path)) == 1, path
