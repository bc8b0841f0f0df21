"""docs/how-to/kubernetes.md: each command is about what is there, and what can be run without a cluster runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.documents import FOLDER, FOLDERS, ROOT, containers, everything, name_of, option, pods, settings

PAGE = (ROOT / "docs" / "how-to" / "kubernetes.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


def commands(beginning: str) -> list[list[str]]:
    found = [shlex.split(line) for line in COMMANDS if line.startswith(beginning)]
    assert found, beginning
    return found


def test_every_folder_is_applied() -> None:
    assert {Path(words[3]) for words in commands("kubectl apply -k")} == {
        Path("deploy/kubernetes", name) for name in FOLDERS
    }


def test_files_and_folders_that_it_names_exist() -> None:
    for name in re.findall(r"`((?:serve|job|ray|kserve|models)/[\w./]*|[\w-]+\.yaml)`", PAGE):
        assert (FOLDER / name).exists() or list(FOLDER.glob(f"*/{name}")), name
    for name in re.findall(r"\.\./(components/[\w-]+)", PAGE):
        assert (FOLDER / name / "kustomization.yaml").is_file()


def test_objects_that_it_asks_for_exist() -> None:
    names = {name_of(document).lower() for document in everything()}
    asked = set(re.findall(r"\b((?:deployment|service|job|pod)/whatsit-\w+)", "\n".join(COMMANDS)))
    assert asked
    assert asked <= names
    assert {"rayjob/whatsit-ray", "inferenceservice/food"} <= names


def test_secrets_that_it_makes_are_those_that_the_pods_name() -> None:
    made = {words[6] for words in commands("kubectl -n whatsit create secret")}
    text = str([pods(everything()), everything()])
    named = set(
        re.findall(
            r"'secretName': '([\w-]+)'|'secretRef': {'name': '([\w-]+)'|'credentials': {'name': '([\w-]+)'", text
        )
    )
    assert made == {name for names in named for name in names if name} | {"registry"}


def test_commands_of_whatsit_are_those_of_the_job() -> None:
    from whatsit.apps.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    if "shard" not in known:
        pytest.skip("`whatsit shard` is not there yet")
    assert {words[1] for words in commands("whatsit ")} <= known


def test_times_and_numbers_are_those_of_the_files() -> None:
    [container] = containers(pods(everything())["Deployment/whatsit-serve"])
    assert f"new requests for {container['lifecycle']['preStop']['sleep']['seconds']} s" in PAGE
    assert option(container, "--deadline") == option(container, "--grace")
    [scaled] = [document["spec"] for document in everything() if document["kind"] == "ScaledObject"]
    assert f"threshold of {scaled['triggers'][0]['metadata']['threshold']} " in PAGE
    assert f"there are {scaled['fallback']['replicas']} pods or more" in PAGE


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_keys_made_as_it_says_are_taken_by_the_service_and_the_monitor(tmp_path: Path) -> None:
    from whatsit.apps.api.keys import read_keys

    [block] = [block for block in BLOCKS if "secrets.token_urlsafe" in block]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for its `python`
    run = subprocess.run(
        ["sh", "-ec", block.rstrip() + " --dry-run=client -o yaml"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    caller, prometheus = read_keys(tmp_path / "keys")
    assert caller != prometheus
    assert set(yaml.safe_load(run.stdout)["data"]) == {"keys", "metrics"}
    assert (tmp_path / "metrics.key").read_text() == prometheus  # without an end of line, which no header may hold


def test_model_that_it_copies_is_the_one_of_the_jobs() -> None:
    [copied] = commands("kubectl -n whatsit cp")
    folder = str(Path(copied[-1].removeprefix("whatsit-models:")).parent)
    assert folder == settings("job")["MODEL"] == settings("ray")["MODEL"]
    [uri] = re.findall(r"'storageUri': 'pvc://whatsit-models/([^']+)'", str(everything()))
    assert folder == f"/models/{uri}"


def test_images_are_named_where_it_edits_them(tmp_path: Path) -> None:
    [edit] = [line for line in COMMANDS if line.startswith("sed ")]
    shutil.copytree(FOLDER, tmp_path / "deploy" / "kubernetes")
    subprocess.run(["sh", "-c", edit.replace("sed -i ", "sed -i.before ")], cwd=tmp_path, check=True)
    for folder in FOLDERS:
        text = (tmp_path / "deploy" / "kubernetes" / folder / "kustomization.yaml").read_text()
        assert "newName: YOUR.REGISTRY/whatsit" in text
