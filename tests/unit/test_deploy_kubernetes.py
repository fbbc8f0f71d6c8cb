"""The Kubernetes manifests fit the API, agree with each other and with how a worker behaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from streams.settings import load
from streams.worker import STAGES, STOP_S
from tests.support.promql import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(file for file in FOLDER.iterdir() if file.suffix in {".yaml", ".example"})
#: The oldest that the manifests are for, and the newest that is known.
RELEASES = ["1.29", kubernetes_validate.latest_version()]

Manifest = dict[str, Any]


def manifests(file: Path) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def of_kind(kind: str) -> list[Manifest]:
    return [each for file in FILES for each in manifests(file) if each["kind"] == kind]


def pod(workload: Manifest) -> Manifest:
    found: Manifest = workload["spec"]["template"]
    return found


def container(workload: Manifest) -> Manifest:
    (found,) = pod(workload)["spec"]["containers"]
    return dict(found)


DEPLOYMENTS = of_kind("Deployment")
every_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["metadata"]["name"])
every_workload = pytest.mark.parametrize(
    "workload", [*DEPLOYMENTS, *of_kind("Job")], ids=lambda each: each["metadata"]["name"]
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_manifests_fit_the_schemas_of_old_and_new_releases(file: Path) -> None:
    for release in RELEASES:
        for manifest in manifests(file):
            kubernetes_validate.validate(manifest, release, strict=True)


def test_everything_is_in_the_namespace_and_has_the_label_of_the_project() -> None:
    for file in FILES:
        for manifest in manifests(file):
            metadata = manifest["metadata"]
            assert metadata["labels"]["app.kubernetes.io/name"] == "tocsin"
            assert metadata.get("namespace") == (None if manifest["kind"] == "Namespace" else "tocsin")


def test_kubectl_applies_all_but_the_example_of_a_secret() -> None:
    assert [file.name for file in FILES if file.suffix != ".yaml"] == ["secret.yaml.example"]
    assert of_kind("Secret")


def test_the_settings_are_those_of_the_deployment() -> None:
    (config,) = of_kind("ConfigMap")
    assert config["data"]["tocsin.toml"] == (ROOT / "deploy" / "tocsin.toml").read_text()


def test_each_stage_has_a_deployment_that_runs_it() -> None:
    assert {(each["metadata"]["name"], *container(each)["args"]) for each in DEPLOYMENTS} == {
        (f"tocsin-{stage}", "worker", stage) for stage in STAGES
    }


@every_deployment
def test_selectors_select_the_pods_of_their_own(deployment: Manifest) -> None:
    labels = pod(deployment)["metadata"]["labels"]
    (budget,) = [
        each for each in of_kind("PodDisruptionBudget") if each["metadata"]["name"] == deployment["metadata"]["name"]
    ]
    (spread,) = pod(deployment)["spec"]["topologySpreadConstraints"]
    selectors = [deployment["spec"]["selector"], budget["spec"]["selector"], spread["labelSelector"]]
    assert selectors == [{"matchLabels": labels}] * 3


@every_deployment
def test_a_pod_can_be_missed_and_the_rest_goes_on(deployment: Manifest) -> None:
    assert deployment["spec"]["replicas"] >= 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert pod(deployment)["spec"]["terminationGracePeriodSeconds"] > STOP_S


@every_deployment
def test_probes_and_prometheus_ask_where_the_worker_listens(deployment: Manifest) -> None:
    worker = load(ROOT / "deploy" / "tocsin.toml").worker
    found = container(deployment)
    assert found["ports"] == [{"name": "http", "containerPort": worker.http_port}]
    assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert found["livenessProbe"]["httpGet"] == found["startupProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert pod(deployment)["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(worker.http_port),
        "prometheus.io/path": "/metrics",
    }
    (policy,) = of_kind("NetworkPolicy")
    assert policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": worker.http_port}]


@every_workload
def test_a_pod_has_no_rights_that_it_does_not_need(workload: Manifest) -> None:
    spec = pod(workload)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container(workload)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    user = f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}"
    assert f"USER {user}" in (ROOT / "Dockerfile").read_text().splitlines()


@every_workload
def test_a_pod_gets_its_settings_and_nothing_that_looks_like_one(workload: Manifest) -> None:
    spec, found = pod(workload)["spec"], container(workload)
    assert spec["enableServiceLinks"] is False
    mounted = {mount["name"]: mount["mountPath"] for mount in found["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in spec["volumes"]}
    settings, servers = found["env"]
    assert settings == {"name": "TOCSIN_SETTINGS", "value": f"{mounted['settings']}/tocsin.toml"}
    assert servers["name"] == "KAFKA_BOOTSTRAP_SERVERS"
    (config,) = of_kind("ConfigMap")
    assert servers["valueFrom"]["configMapKeyRef"]["key"] in config["data"]


def test_the_files_of_the_secret_are_those_that_the_settings_speak_of() -> None:
    (secret,) = of_kind("Secret")
    text = (ROOT / "deploy" / "tocsin.toml").read_text()
    assert all(f'"/run/secrets/tocsin/{name}"' in text for name in secret["stringData"])


def test_all_pods_run_one_image() -> None:
    assert len({container(each)["image"] for each in [*DEPLOYMENTS, *of_kind("Job")]}) == 1
