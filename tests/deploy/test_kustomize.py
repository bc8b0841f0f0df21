"""What `kubectl kustomize` makes of deploy/kubernetes, where there is a kubectl. It needs no cluster."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.custom_kinds import SCHEMAS
from tests.deploy.documents import FOLDER, FOLDERS, Document, containers, kustomization, one, pods

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
COMPONENT = "# components: [../components/{}]"


def build(folder: Path) -> list[Document]:
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # of what is deprecated
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the folder, whose files a user edits."""
    return Path(shutil.copytree(FOLDER, tmp_path / "kubernetes"))


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize("folder", FOLDERS)
def test_namespace_and_images_are_set_everywhere(folder: str, copy: Path) -> None:
    edit(copy / folder / "kustomization.yaml", "namespace: whatsit\n", "namespace: museum\n")
    documents = build(copy / folder)
    assert {document["metadata"]["namespace"] for document in documents} == {"museum"}
    named = {f"{image['newName']}:{image['newTag']}" for image in kustomization(folder)["images"]}
    assert {container["image"] for pod in each(documents) for container in containers(pod)} == named
    assert set(re.findall(r'namespace="(\w+)"', str(documents))) <= {"museum"}  # in the queries


def test_shares_of_the_job(copy: Path) -> None:
    edit(copy / "job" / "kustomization.yaml", "SHARES=20", "SHARES=300")
    documents = build(copy / "job")
    job, config = one("Job", documents)["spec"], one("ConfigMap", documents)
    assert job["completions"] == job["parallelism"] == int(config["data"]["SHARES"]) == 300
    [container] = job["template"]["spec"]["containers"]
    assert container["envFrom"][0]["configMapRef"]["name"] == config["metadata"]["name"]


def test_work_and_workers_of_ray(copy: Path) -> None:
    for before, after in {
        "MODEL=/models/food": "MODEL=/models/pets",
        "museum/": "farm/",
        "WORKERS=5": "WORKERS=7",
    }.items():
        edit(copy / "ray" / "kustomization.yaml", before, after)
    ray = one("RayJob", build(copy / "ray"))["spec"]
    wanted = "whatsit predict /models/pets s3://farm/shards --out s3://farm/answers --ray auto"
    assert ray["entrypoint"] == wanted
    [workers] = ray["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == 7


@pytest.mark.parametrize("component", ["model-image", "model-bucket"])
@pytest.mark.parametrize("folder", ["job", "serve"])
def test_models_from_elsewhere(folder: str, component: str, copy: Path) -> None:
    import kubernetes_validate  # a second that only this test needs

    edit(copy / folder / "kustomization.yaml", COMPONENT.format(component), COMPONENT.format(component)[2:])
    documents = build(copy / folder)
    [pod] = each(documents)
    assert "persistentVolumeClaim" not in str(pod)
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for container in containers(pod) for mount in container["volumeMounts"]} == volumes
    for document in documents:
        if document["kind"] not in SCHEMAS:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def each(documents: list[Document]) -> list[Document]:
    return list(pods(documents).values())
