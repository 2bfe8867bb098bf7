"""Holds the manifests of docker/kubernetes to what they promise, as kustomize puts them together.

    python tests/container/manifests.py FOLDER

FOLDER has one file for each kustomization, named like its folder. The configurations in ConfigMaps are put into folders of
these names, for `pinproxy config check`.
"""

import pathlib
import sys

import yaml

# The mode that a kubelet cannot but give the files of a Secret for a process that is not root: see the authority's access.
KEY_MODE = 0o440
# What each kustomization consists of.
KINDS = {
    "base": [
        "ConfigMap", "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Namespace", "NetworkPolicy",
        "PodDisruptionBudget", "Service", "ServiceAccount",
    ],
    "clients": ["NetworkPolicy"],
    "sidecar": ["ConfigMap", "Deployment"],
    "cert-manager": ["Certificate", "Issuer"],
}
# What every container is kept from.
CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


class Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, of which YAML would take the last one."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep) for key, _ in node.value]
        doubled = [key for key in keys if keys.count(key) > 1]
        assert not doubled, f"written twice: {doubled[0]}, {node.start_mark}"
        return super().construct_mapping(node, deep)


def load(path):
    with path.open() as file:
        return [document for document in yaml.load_all(file, Loader) if document]


def only(documents, kind):
    found = [document for document in documents if document["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]


def labels_select(selector, labels):
    assert selector, "an empty selector selects everything"
    assert selector.items() <= labels.items(), f"{selector} does not select {labels}"


def check_pod(pod, volumes_known):
    """The security context of a pod and of each container, and that everything it mounts is there."""
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and context["seccompProfile"] == {"type": "RuntimeDefault"}, context
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
        assert forbidden not in pod
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    containers = pod.get("initContainers", []) + pod["containers"]
    mounted = set()
    for container in containers:
        confined = container["securityContext"]
        assert CONFINED.items() <= confined.items(), (container["name"], confined)
        user = confined.get("runAsUser", context.get("runAsUser"))
        assert isinstance(user, int) and user > 0, (container["name"], user)
        assert "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"]
        for mount in container.get("volumeMounts", []):
            assert mount["name"] in volumes, mount
            assert "subPath" not in mount, "what is mounted by subPath never changes"
            assert mount.get("readOnly") or "emptyDir" in volumes[mount["name"]], f"{mount} can be written to"
            mounted.add(mount["name"])
    assert mounted == volumes.keys(), f"never mounted: {volumes.keys() - mounted}"
    for volume in volumes.values():
        for name in names_of_config_maps(volume):
            assert name in volumes_known, f"there is no ConfigMap {name}"
    check_key(containers, volumes, context)
    return containers


def names_of_config_maps(volume):
    sources = [volume, *volume.get("projected", {}).get("sources", [])]
    return [source["configMap"]["name"] for source in sources if "configMap" in source]


def check_key(containers, volumes, context):
    """The key of the CA is mounted in one container, as pinproxy takes it."""
    with_key = [
        name
        for name, volume in volumes.items()
        if any(item["path"] == "ca.key" for item in volume.get("secret", {}).get("items", []))
    ]
    assert len(with_key) == 1, with_key
    assert volumes[with_key[0]]["secret"]["defaultMode"] == KEY_MODE and context["fsGroup"] > 0
    holders = [c["name"] for c in containers if any(m["name"] == with_key[0] for m in c.get("volumeMounts", []))]
    assert holders == ["pinproxy"], holders


def check_base(documents, configurations):
    deployment = only(documents, "Deployment")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    # The autoscaler would be overruled at every apply.
    assert "replicas" not in deployment["spec"]
    [container] = check_pod(pod["spec"], configurations)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "admin"}, probe
    service = only(documents, "Service")
    policy = only(documents, "NetworkPolicy")
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        only(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        policy["spec"]["podSelector"]["matchLabels"],
    ):
        labels_select(selector, labels)
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["proxy"], "the admin address is not a service"
    scaled = only(documents, "HorizontalPodAutoscaler")["spec"]
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"] and scaled["minReplicas"] >= 2
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule.get("from") and rule.get("ports") for rule in policy["spec"]["ingress"])
    assert all(rule.get("to") and rule.get("ports") for rule in policy["spec"]["egress"])
    text = configurations[next(name for name in configurations if name.startswith("pinproxy-") and name != "pinproxy-pins")]
    listening = text["pinproxy.toml"]
    assert f'address = "0.0.0.0:{ports["proxy"]}"' in listening and f'address = "0.0.0.0:{ports["admin"]}"' in listening
    seconds = sum(int(listening.split(f'{key} = "')[1].split('s"')[0]) for key in ("drain_delay", "drain_timeout"))
    # The end itself takes up to 15 seconds more (proxy::END_MAX).
    assert seconds + 15 < pod["spec"]["terminationGracePeriodSeconds"], "the kubelet would not wait for it"
    return labels, ports


def check_clients(documents, labels, ports):
    policy = only(documents, "NetworkPolicy")["spec"]
    assert policy["podSelector"] == {} and policy["policyTypes"] == ["Egress"], "all pods"
    to_proxy = [rule for rule in policy["egress"] if {"port": ports["proxy"]} in rule.get("ports", [])]
    assert len(to_proxy) == 1
    labels_select(to_proxy[0]["to"][0]["podSelector"]["matchLabels"], labels)
    for rule in policy["egress"]:
        assert rule["to"] and all("ipBlock" not in peer and peer for peer in rule["to"]), f"a way out: {rule}"


def check_sidecar(documents, configurations):
    pod = only(documents, "Deployment")["spec"]["template"]["spec"]
    containers = check_pod(pod, configurations)
    assert [container["name"] for container in containers] == ["pinproxy", "client"]
    assert containers[0]["restartPolicy"] == "Always" and containers[0] is pod["initContainers"][0]
    for probe, more in (("startupProbe", []), ("livenessProbe", ["--alive"])):
        assert containers[0][probe]["exec"]["command"] == ["/usr/bin/pinproxy", "healthcheck", *more], probe


def main(folder):
    documents = {name: load(folder / f"{name}.yaml") for name in KINDS}
    for name, kinds in KINDS.items():
        found = sorted(document["kind"] for document in documents[name])
        assert found == kinds, (name, found)
    configurations = {}
    for name in ("base", "sidecar"):
        maps = [document for document in documents[name] if document["kind"] == "ConfigMap"]
        configurations[name] = {document["metadata"]["name"]: document["data"] for document in maps}
        for file, text in (item for data in configurations[name].values() for item in data.items()):
            # As they are mounted.
            target = folder / name / ("pins.d" if (name, file) == ("base", "pins.toml") else ".") / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    assert all(document["kind"] != "Secret" for found in documents.values() for document in found), "no secrets here"
    labels, ports = check_base(documents["base"], configurations["base"])
    check_clients(documents["clients"], labels, ports)
    check_sidecar(documents["sidecar"], configurations["sidecar"])
    print(f"{sum(map(len, documents.values()))} manifests hold")


main(pathlib.Path(sys.argv[1]))
