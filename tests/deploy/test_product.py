"""What deploy/kubernetes says of whatsit is so: addresses, ports, options, the metric, times, users, volumes."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from starlette.types import ASGIApp

from tests.coroutines import run_apart
from tests.deploy.documents import (
    FOLDER,
    FOLDERS,
    ROOT,
    Document,
    containers,
    everything,
    kustomization,
    load,
    of,
    one,
    option,
    pods,
    settings,
)
from whatsit.apps.api.app import create_app
from whatsit.apps.api.models import parse_models
from whatsit.apps.api.server import PORTS
from whatsit.apps.api.service import Service
from whatsit.apps.api.settings import Settings
from whatsit.apps.cli import app as command_line
from whatsit.bundle.read import find_bundle

PODS = pods(everything())
SERVING = {name: PODS[name]["containers"][0] for name in ("Deployment/whatsit-serve", "ServingRuntime")}
WHATSIT = [
    container for pod in PODS.values() for container in containers(pod) if container.get("command") == ["whatsit"]
]
KEY = "a key of more than 16 letters"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


@functools.cache
def application(*keys: str) -> ASGIApp:
    """A service whose models are not loaded yet."""
    return create_app(Service(["food=/nowhere"], Settings(keys=keys)))


def get(path: str, *keys: str) -> tuple[int, str]:
    """Ask it without a key: status and text."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
    }
    run_apart(application(*keys)(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


def dockerfile(word: str) -> str:
    lines = [line.split(maxsplit=1) for line in (ROOT / "Dockerfile").read_text().splitlines()]
    [value] = [line[1] for line in lines if line and line[0] == word]
    return value


def queries() -> list[str]:
    scaled = one("ScaledObject")["spec"]["triggers"][0]["metadata"]
    kserve = one("InferenceService")["spec"]["predictor"]["autoScaling"]["metrics"][0]["external"]["metric"]
    assert scaled["serverAddress"] == kserve["serverAddress"]
    return [scaled["query"], kserve["query"]]


@pytest.mark.parametrize("name", SERVING)
@pytest.mark.parametrize("probe", PROBES)
def test_probes_ask_what_the_service_answers_without_a_key(name: str, probe: str) -> None:
    status, _ = get(SERVING[name][probe]["httpGet"]["path"], KEY)
    assert status == (200 if probe == "livenessProbe" else 503)  # alive, and not ready before its models are


@pytest.mark.parametrize("name", SERVING)
def test_ports_are_those_of_the_command(name: str) -> None:
    [port] = SERVING[name]["ports"]
    assert str(port["containerPort"]) == option(SERVING[name], "--port")
    assert {SERVING[name][probe]["httpGet"]["port"] for probe in PROBES} <= {port["containerPort"], port.get("name")}
    assert option(SERVING[name], "--host") == "0.0.0.0"


def test_service_and_monitor_and_policy_lead_to_the_port() -> None:
    [port] = SERVING["Deployment/whatsit-serve"]["ports"]
    assert port["containerPort"] == PORTS.start
    documents = of("serve")
    assert one("Service", documents)["spec"]["ports"][0]["targetPort"] == port["name"]
    assert one("PodMonitor", documents)["spec"]["podMetricsEndpoints"][0]["port"] == port["name"]
    assert one("NetworkPolicy", documents)["spec"]["ingress"][0]["ports"][0]["port"] == port["name"]


def test_all_of_the_service_select_its_pods() -> None:
    documents = of("serve")
    labels = one("Deployment", documents)["spec"]["template"]["metadata"]["labels"]
    selectors = [one("Service", documents)["spec"]["selector"], one("NetworkPolicy", documents)["spec"]["podSelector"]]
    selectors += [
        one(kind, documents)["spec"]["selector"] for kind in ("Deployment", "PodMonitor", "PodDisruptionBudget")
    ]
    for selector in selectors:
        assert selector.get("matchLabels", selector).items() <= labels.items()
    assert one("ScaledObject", documents)["spec"]["scaleTargetRef"]["name"] == one("Deployment")["metadata"]["name"]


@pytest.mark.parametrize("query", queries())
def test_metric_of_the_autoscaler_is_one_of_the_service(query: str) -> None:
    [(metric, labels)] = re.findall(r"(whatsit_\w+)\{(.*?)\}", query)
    status, text = get("/metrics")
    assert status == 200
    assert f"# TYPE {metric} gauge" in text
    assert set(re.findall(r"(\w+)=~?\"", labels)) == {"namespace", "pod"}  # which Prometheus adds itself


def test_queries_name_the_pods_of_their_documents() -> None:
    serve, kserve = [re.search(r'pod=~"(.*?)\.\*"', query) for query in queries()]
    assert serve
    assert kserve
    assert serve[1] == f"{one('Deployment')['metadata']['name']}-"
    assert kserve[1] == f"{one('InferenceService')['metadata']['name']}-predictor-"


def test_metrics_need_a_key_which_the_monitor_brings() -> None:
    assert get("/metrics", KEY)[0] == 401
    credentials = one("PodMonitor")["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"]
    [keys] = [volume["secret"] for volume in PODS["Deployment/whatsit-serve"]["volumes"] if volume["name"] == "keys"]
    assert credentials["name"] == keys["secretName"]
    mounts = {mount["name"]: mount["mountPath"] for mount in SERVING["Deployment/whatsit-serve"]["volumeMounts"]}
    assert (
        option(SERVING["Deployment/whatsit-serve"], "--api-key-file") == f"{mounts['keys']}/{keys['items'][0]['path']}"
    )


@pytest.mark.parametrize("container", WHATSIT, ids=lambda container: container["name"])
def test_options_of_the_commands_exist(container: Document) -> None:
    check_command(container["args"])


def test_command_of_ray_exists() -> None:
    program, *words = shlex.split(one("RayJob")["spec"]["entrypoint"])
    assert program == "whatsit"
    check_command(words)


def check_command(words: list[str]) -> None:
    verb, given = words[0], {word for word in words if word.startswith("--")}
    known = typer.main.get_command(command_line).commands  # type: ignore[attr-defined]
    if verb == "predict" and "shard" not in known:
        pytest.skip("`whatsit predict --out` is not there yet")
    options = {name for parameter in known[verb].params for name in parameter.opts}
    assert given <= options


@pytest.mark.parametrize("name", SERVING)
def test_nothing_accepted_is_cut_off_when_a_pod_ends(name: str) -> None:
    grace, deadline = float(option(SERVING[name], "--grace")), float(option(SERVING[name], "--deadline"))
    assert grace >= deadline
    before = SERVING[name]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert PODS[name]["terminationGracePeriodSeconds"] >= before + grace + 5


def test_kserve_gives_a_model_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.whatsit").touch()
    model = SERVING["ServingRuntime"]["args"][1]
    assert model == "{{.Name}}=/mnt/models"  # a Go template, and where KServe puts what `storageUri` names
    [entry] = parse_models([model.replace("{{.Name}}", "food").replace("/mnt/models", str(tmp_path))])
    assert (entry.name, find_bundle(entry.path)) == ("food", tmp_path / "model.whatsit")
    runtime, service = one("ServingRuntime"), one("InferenceService")["spec"]["predictor"]["model"]
    assert service["runtime"] == runtime["metadata"]["name"]
    assert service["modelFormat"]["name"] == runtime["spec"]["supportedModelFormats"][0]["name"]
    assert service["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert runtime["spec"]["containers"][0]["name"] == "kserve-container"


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/food", "/v2/models/food/ready"]
)
def test_addresses_of_the_protocol_that_kserve_serves(path: str) -> None:
    assert get(path)[0] in (200, 503)  # not loaded; what is unknown is 404
    assert get("/v2/models/other/ready")[0] == 404


def test_models_lie_where_the_image_has_its_volume() -> None:
    for name, pod in PODS.items():
        mounts = {mount["name"]: mount for container in containers(pod) for mount in container.get("volumeMounts", [])}
        if "models" in mounts:
            assert mounts["models"]["mountPath"] == dockerfile("VOLUME"), name
            assert mounts["models"].get("readOnly", False) is (name != "Pod/whatsit-models"), name  # which fills it
            assert (
                pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
                == one("PersistentVolumeClaim")["metadata"]["name"]
            )
            assert pod["volumes"][0]["name"] == "models", name  # the components replace the first


def test_user_is_the_one_of_the_image() -> None:
    user = int(dockerfile("USER"))
    for name in ("Job/whatsit-predict", "Deployment/whatsit-serve"):
        assert PODS[name]["securityContext"]["runAsUser"] == user
    assert SERVING["ServingRuntime"]["securityContext"]["runAsUser"] == user


def test_images_are_those_that_the_kustomizations_name() -> None:
    for folder in FOLDERS:
        names = {image["name"] for image in kustomization(folder)["images"]}
        used = {container["image"] for pod in pods(of(folder)).values() for container in containers(pod)}
        assert used == names


def test_job_makes_every_share() -> None:
    job, given = one("Job"), settings("job")
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(given["SHARES"])
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert option(container, "--shard") == "$(JOB_COMPLETION_INDEX)/$(SHARES)"
    used = {name for word in container["args"] for name in re.findall(r"\$\((\w+)\)", word)}
    assert used == {*given, "JOB_COMPLETION_INDEX"}
    exits = job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]
    assert (exits["containerName"], exits["values"]) == (
        container["name"],
        [2],
    )  # wrong use: a contract of the command line


def test_ray_does_the_same_work_as_the_job() -> None:
    given = settings("ray")
    assert given.items() >= (settings("job").items() - {("SHARES", settings("job")["SHARES"])})
    ray = one("RayJob")["spec"]
    words = shlex.split(ray["entrypoint"])
    assert words[2:6] == [given["MODEL"], given["PLACE"], "--out", given["ANSWERS"]]
    places = [place["targets"][0]["options"]["index"] for place in kustomization("ray")["replacements"][:3]]
    assert [words[place] for place in places] == [given["MODEL"], given["PLACE"], given["ANSWERS"]]
    [workers] = ray["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == int(given["WORKERS"])


def test_ray_of_the_image_is_the_one_that_is_tested() -> None:
    version = one("RayJob")["spec"]["rayClusterSpec"]["rayVersion"]
    first = next(line for line in (FOLDER / "ray" / "Dockerfile").read_text().splitlines() if line.startswith("FROM"))
    assert first.split(":")[1].split("-")[0] == version
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert pins.get("ray", version) == version


def test_ray_sends_nothing_and_lets_nobody_in() -> None:
    for name in ("RayJob/submitter", "RayJob/head", "RayJob/worker"):
        given = {variable["name"]: variable["value"] for variable in PODS[name]["containers"][0]["env"]}
        assert given["RAY_USAGE_STATS_ENABLED"] == "0"
    ray = one("RayJob")["spec"]
    assert ray["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    selector = one("NetworkPolicy", of("ray"))["spec"]["podSelector"]["matchLabels"]
    cluster = ray["rayClusterSpec"]
    for template in (
        ray["submitterPodTemplate"],
        cluster["headGroupSpec"]["template"],
        cluster["workerGroupSpecs"][0]["template"],
    ):
        assert selector.items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("name", PODS)
def test_pods_have_no_rights(name: str) -> None:
    pod = PODS[name]
    for container in containers(pod):
        context = {**pod.get("securityContext", {}), **container["securityContext"]}
        assert context["runAsNonRoot"]
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        # Ray writes into the home folder of its image.
        assert context.get("readOnlyRootFilesystem", False) is not name.startswith("RayJob")
    if name != "ServingRuntime":  # KServe's own service account
        assert not pod["automountServiceAccountToken"]


@pytest.mark.parametrize("name", PODS)
def test_pods_say_what_they_need(name: str) -> None:
    for container in containers(PODS[name]):
        assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
    for volume in PODS[name].get("volumes", []):
        assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"]


def test_secrets_are_named_and_not_written_down() -> None:
    assert all(pod["imagePullSecrets"] == [{"name": "registry"}] for pod in PODS.values())
    assert not [document for document in everything() if document["kind"] == "Secret"]
    for path in FOLDER.rglob("*.yaml"):
        assert not re.search(r"secretGenerator|PASSWORD|SECRET_ACCESS_KEY|_TOKEN\b", path.read_text()), path
    for pod in PODS.values():
        for container in containers(pod):
            for variable in container.get("env", []):
                assert not re.search("KEY|TOKEN|SECRET|PASSWORD", variable["name"])


def test_components_touch_both_kinds_of_pods() -> None:
    for path in FOLDER.glob("components/*/kustomization.yaml"):
        [component] = load(path)
        key, value = component["patches"][0]["target"]["labelSelector"].split("=")
        for kind in component["patches"][0]["target"]["kind"].split("|"):
            assert one(kind)["metadata"]["labels"][key] == value


def test_models_are_copied_from_a_bucket(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed (whatsit[cloud])")
    for name in ("food/model.whatsit", "pets.whatsit", "notes.txt"):
        (tmp_path / "bucket" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bucket" / name).write_text(name)
    program = FOLDER / "components" / "model-bucket" / "copy_models.py"
    command = [sys.executable, program, (tmp_path / "bucket").as_uri(), tmp_path / "models"]
    subprocess.run(command, check=True)
    copied = {str(path.relative_to(tmp_path / "models")) for path in (tmp_path / "models").rglob("*.whatsit")}
    assert copied == {"food/model.whatsit", "pets.whatsit"}
    assert (tmp_path / "models/food/model.whatsit").read_text() == "food/model.whatsit"
    command[2] = tmp_path.joinpath("models", "food").as_uri() + "-none"
    assert subprocess.run(command, capture_output=True).returncode != 0
