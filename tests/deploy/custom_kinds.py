"""Schemas of the custom kinds: only the fields that are used here, so that a field that is misspelt or misplaced is found.

Written from the public definitions: KubeRay 1.6 (ray.io/v1), KServe 0.16 (serving.kserve.io), KEDA 2.17 (keda.sh/v1alpha1), the
Prometheus operator (monitoring.coreos.com/v1). What they embed of Kubernetes' own, pods and their parts, is left open here
(`POD`, `PART`) and checked as a pod.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT: Schema = {"type": "integer", "minimum": 0}
POD: Schema = {"type": "object"}
PART: Schema = {"type": "object"}


def fields(required: str = "", **properties: Schema) -> Schema:
    """An object of exactly these fields."""
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


def items(schema: Schema) -> Schema:
    return {"type": "array", "items": schema, "minItems": 1}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def document(api_version: str, kind: str, spec: Schema) -> Schema:
    metadata = fields("name", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS)
    found = fields("apiVersion kind metadata spec", kind=one_of(kind), metadata=metadata, spec=spec)
    found["properties"]["apiVersion"] = one_of(api_version)
    return found


_RAY_JOB = document(
    "ray.io/v1",
    "RayJob",
    fields(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        submissionMode=one_of("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"),
        backoffLimit=COUNT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        submitterPodTemplate=POD,
        rayClusterSpec=fields(
            "headGroupSpec",
            rayVersion=TEXT,
            authOptions=fields("mode", mode=one_of("token", "disabled")),
            enableInTreeAutoscaling={"type": "boolean"},
            headGroupSpec=fields("rayStartParams template", rayStartParams=TEXTS, template=POD),
            workerGroupSpecs=items(
                fields(
                    "groupName minReplicas maxReplicas rayStartParams template",
                    groupName=TEXT,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    rayStartParams=TEXTS,
                    template=POD,
                )
            ),
        ),
    ),
)
_SERVING_RUNTIME = document(
    "serving.kserve.io/v1alpha1",
    "ServingRuntime",
    fields(
        "containers",
        annotations=TEXTS,
        supportedModelFormats=items(
            fields("name", name=TEXT, version=TEXT, autoSelect={"type": "boolean"}, priority={"type": "integer"})
        ),
        protocolVersions=items(one_of("v1", "v2", "grpc-v1", "grpc-v2")),
        imagePullSecrets=items(PART),
        containers=items(PART),
        volumes=items(PART),
    ),
)
_METRIC = fields("backend", backend=one_of("prometheus", "graphite"), serverAddress=TEXT, query=TEXT, namespace=TEXT)
_INFERENCE_SERVICE = document(
    "serving.kserve.io/v1beta1",
    "InferenceService",
    fields(
        "predictor",
        predictor=fields(
            "model",
            minReplicas=COUNT,
            maxReplicas=COUNT,
            terminationGracePeriodSeconds=COUNT,  # of the pod
            model=fields(
                "modelFormat",
                modelFormat=fields("name", name=TEXT, version=TEXT),
                runtime=TEXT,
                protocolVersion=one_of("v1", "v2", "grpc-v1", "grpc-v2"),
                storageUri={"type": "string", "pattern": "^(pvc|s3|gs|hf|https|oci)://"},
                lifecycle=PART,  # of the container
            ),
            autoScaling=fields(
                "metrics",
                metrics=items(
                    fields(
                        "type",
                        type=one_of("Resource", "External", "PodMetric"),
                        external=fields(
                            "metric target",
                            metric=_METRIC,
                            target=fields(
                                "type",
                                type=one_of("Utilization", "Value", "AverageValue"),
                                value=TEXT,
                                averageValue=TEXT,
                            ),
                        ),
                    )
                ),
            ),
        ),
    ),
)
_SCALED_OBJECT = document(
    "keda.sh/v1alpha1",
    "ScaledObject",
    fields(
        "scaleTargetRef triggers",
        scaleTargetRef=fields("name", name=TEXT, kind=TEXT, apiVersion=TEXT),
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        pollingInterval=COUNT,
        advanced=fields(horizontalPodAutoscalerConfig=fields(name=TEXT, behavior=PART)),
        fallback=fields(
            "failureThreshold replicas",
            failureThreshold=COUNT,
            replicas=COUNT,
            behavior=one_of("static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"),
        ),
        triggers=items(
            fields(
                "type metadata",
                type=one_of("prometheus"),
                metricType=one_of("AverageValue", "Value"),
                metadata=fields(
                    "serverAddress query threshold",
                    serverAddress=TEXT,
                    query=TEXT,
                    threshold={"type": "string", "pattern": "^[0-9.]+$"},
                    ignoreNullValues=one_of("true", "false"),
                ),
            )
        ),
    ),
)
_POD_MONITOR = document(
    "monitoring.coreos.com/v1",
    "PodMonitor",
    fields(
        "selector podMetricsEndpoints",
        selector=fields(matchLabels=TEXTS),
        podMetricsEndpoints=items(
            fields(
                port=TEXT,
                path={"type": "string", "pattern": "^/"},
                interval={"type": "string", "pattern": "^[0-9]+s$"},
                authorization=fields(type=TEXT, credentials=fields("key", name=TEXT, key=TEXT)),
            )
        ),
    ),
)
SCHEMAS = {
    "RayJob": _RAY_JOB,
    "ServingRuntime": _SERVING_RUNTIME,
    "InferenceService": _INFERENCE_SERVICE,
    "ScaledObject": _SCALED_OBJECT,
    "PodMonitor": _POD_MONITOR,
}
