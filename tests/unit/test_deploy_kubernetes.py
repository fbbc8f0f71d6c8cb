"""The Kubernetes manifests fit the API, agree with each other and with how a worker and the page behave."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from streams.settings import load
from streams.web.shapes import StatusState
from streams.worker import STAGES, STOP_S
from tests.support.loopback import free_port, get_json, running
from tests.support.programs import program
from tests.support.promql import ROOT
from tests.support.waiting import until
from tests.support.webdata import outage_of_x
from tests.support.webserver import web_server

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


def named(kind: str, name: str) -> Manifest:
    (found,) = [each for each in of_kind(kind) if each["metadata"]["name"] == name]
    return found


WEB = named("Deployment", "tocsin-web")
SETTINGS = load(ROOT / "deploy" / "tocsin.toml")


def port(deployment: Manifest) -> int:
    return SETTINGS.web.port if deployment == WEB else SETTINGS.worker.http_port


def test_each_stage_and_the_page_have_a_deployment_that_runs_them() -> None:
    assert {(each["metadata"]["name"], *container(each)["args"]) for each in DEPLOYMENTS} == {
        ("tocsin-web", "web"),
        *((f"tocsin-{stage}", "worker", stage) for stage in STAGES),
    }


@every_deployment
def test_selectors_select_the_pods_of_their_own(deployment: Manifest) -> None:
    labels = pod(deployment)["metadata"]["labels"]
    budget = named("PodDisruptionBudget", deployment["metadata"]["name"])
    (spread,) = pod(deployment)["spec"]["topologySpreadConstraints"]
    selectors = [deployment["spec"]["selector"], budget["spec"]["selector"], spread["labelSelector"]]
    assert selectors == [{"matchLabels": labels}] * 3


@every_deployment
def test_a_pod_can_be_missed_and_the_rest_goes_on(deployment: Manifest) -> None:
    assert deployment["spec"]["replicas"] >= 2
    # workers one after the other, for each that comes has the others rebalance; a page knows nothing when it starts
    steps = {"maxSurge": 1, "maxUnavailable": 0} if deployment == WEB else {"maxSurge": 0, "maxUnavailable": 1}
    assert deployment["spec"]["strategy"]["rollingUpdate"] == steps
    assert pod(deployment)["spec"]["terminationGracePeriodSeconds"] > STOP_S


@every_deployment
def test_probes_and_prometheus_ask_where_the_process_listens(deployment: Manifest) -> None:
    found = container(deployment)
    assert found["ports"] == [{"name": "http", "containerPort": port(deployment)}]
    assert found["livenessProbe"]["httpGet"] == found["startupProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert pod(deployment)["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port(deployment)),
        "prometheus.io/path": "/metrics",
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_is_ready_when_it_says_so(stage: str) -> None:
    found = container(named("Deployment", f"tocsin-{stage}"))
    assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


# --- the page -------------------------------------------------------------------------------------------------------

STATES: list[tuple[str, bool, bool]] = [
    # state, whether anything is known, whether people are sent there
    ("live", True, True),
    ("live", False, True),  # there are no services yet
    ("catching-up", True, False),  # half of it would look like the all-clear
    ("catching-up", False, False),
    ("stale", True, True),  # the page says so
    ("disconnected", True, True),
    ("disconnected", False, False),  # a pod that knows nothing, while Kafka is away: others may know
    ("failed", True, True),
]


@pytest.mark.parametrize(("state", "knows", "routed"), STATES)
def test_people_are_sent_to_a_page_that_knows_something(
    state: StatusState, knows: bool, routed: bool, tmp_path: Path
) -> None:
    """What is run is the probe as it is, but for the port."""
    python, *arguments = container(WEB)["readinessProbe"]["exec"]["command"]
    assert python == "python"
    with web_server(tmp_path, outage_of_x()[1][:30] if knows else []) as server:
        server.health = state, None if state == "live" else "a reason", None
        asked = [each.replace(f"http://127.0.0.1:{SETTINGS.web.port}", server.address) for each in arguments]
        assert asked != arguments
        done = subprocess.run([sys.executable, *asked], capture_output=True, text=True, check=False)
    assert (done.returncode == 0, done.stderr) == (routed, "")


def test_the_service_leads_to_the_page_and_keeps_a_client_at_one_of_them() -> None:
    (service,) = of_kind("Service")
    spec = service["spec"]
    assert spec["selector"] == pod(WEB)["metadata"]["labels"]
    assert [each["targetPort"] for each in spec["ports"]] == [each["name"] for each in container(WEB)["ports"]]
    assert spec["sessionAffinity"] == "ClientIP"
    assert spec.get("type", "ClusterIP") == "ClusterIP"  # nobody is let in from outside without being asked
    assert of_kind("Ingress") == []


def test_the_page_may_write_the_folder_of_its_read_model() -> None:
    mounted = {each["mountPath"]: each for each in container(WEB)["volumeMounts"]}
    mount = mounted[str(Path(SETTINGS.web.database).parent)]
    assert "readOnly" not in mount
    (volume,) = [each for each in pod(WEB)["spec"]["volumes"] if each["name"] == mount["name"]]
    assert volume["emptyDir"].keys() == {"sizeLimit"}


# --- network --------------------------------------------------------------------------------------------------------


def admitted(policy: Manifest) -> list[tuple[set[str], list[int]]]:
    """Return which namespaces a policy admits to which ports."""
    return [
        (
            {each["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for each in rule["from"]},
            [each["port"] for each in rule["ports"]],
        )
        for rule in policy["spec"]["ingress"]
    ]


def test_only_prometheus_reaches_a_worker_and_beside_it_only_the_proxy_the_page() -> None:
    every, web = named("NetworkPolicy", "tocsin"), named("NetworkPolicy", "tocsin-web")
    assert len(of_kind("NetworkPolicy")) == 2
    assert every["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "tocsin"}
    assert admitted(every) == [({"monitoring"}, [SETTINGS.worker.http_port])]
    assert web["spec"]["podSelector"]["matchLabels"] == pod(WEB)["metadata"]["labels"]
    assert admitted(web) == [({"ingress-nginx", "monitoring"}, [SETTINGS.web.port])]
    assert "egress" not in web["spec"]  # the other one has it for all


def test_prometheus_finds_the_workers_and_the_page_and_takes_none_for_the_other(tmp_path: Path) -> None:
    """Debian builds Prometheus without Kubernetes: it is given what the search would find, and relabels that itself."""
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.kubernetes.yml").read_text())
    pods = [
        {"targets": [f"127.0.0.{number}:1"], "labels": found(workload, f"127.0.0.{number}")}
        for number, workload in enumerate([*DEPLOYMENTS, *of_kind("Job")], 2)
    ]
    for job in config["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["tocsin"]}}]
        job["static_configs"] = pods
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump({**config, "rule_files": [], "alerting": {}}))
    address = f"127.0.0.1:{free_port()}"
    command = [program("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    with running([*command, f"--web.listen-address={address}"], f"http://{address}/-/ready", tmp_path / "log"):
        # the targets are there a moment after it is ready
        targets = until(lambda: get_json(f"http://{address}/api/v1/targets")["data"]["activeTargets"], "it has targets")
    assert {(each["labels"]["job"], each["labels"]["instance"], each["scrapeUrl"]) for each in targets} == {
        (
            "tocsin-web" if workload == WEB else "tocsin",
            workload["metadata"]["name"],
            f"http://127.0.0.{number}:{port(workload)}/metrics",
        )
        for number, workload in enumerate(DEPLOYMENTS, 2)
    }


def found(workload: Manifest, address: str) -> dict[str, str]:
    """Return what Prometheus finds out about a pod; that of the job has no annotations."""
    metadata = pod(workload)["metadata"]
    labels = {f"pod_label_{name}": value for name, value in metadata["labels"].items()}
    annotations = {f"pod_annotation_{name}": value for name, value in metadata.get("annotations", {}).items()}
    own = {"pod_ip": address, "pod_phase": "Running", "pod_name": workload["metadata"]["name"]}
    return {
        f"__meta_kubernetes_{re.sub('[^a-z0-9_]', '_', name)}": value
        for name, value in {**labels, **annotations, **own}.items()
    }


# --- pods -----------------------------------------------------------------------------------------------------------


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
