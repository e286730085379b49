"""The processes of the test cluster, their command lines, and the files that they read. Pure."""

from __future__ import annotations

import json

from tests.cluster.layout import API_SERVICE, GATEWAY, NODE, POD_CIDR, SERVICE_CIDR, Layout

# In the order of their start. They stop in the reverse order.
CONTROL_PLANE = ("etcd", "apiserver")
WORKERS = ("containerd", "controller-manager", "scheduler", "kubelet", "kube-proxy", "coredns")
# Enforces NetworkPolicies. Only those tests start it that are about them, because it takes minutes to build.
FIREWALL = "kube-router"
# Queues Jobs. The API server asks it about each Job while it runs: see tests.cluster.kueue.
QUEUE = "kueue"
PARTS = (*CONTROL_PLANE, *WORKERS, FIREWALL, QUEUE)
# Simulates the running of pods, in place of the WORKERS: see tests.cluster.simulated.
SIMULATION = ("controller-manager", "scheduler", "kwok")
SIMULATED_NODE = "velodrome.test/simulated"  # annotation of the nodes that kwok plays

QUEUE_PORT = 9443

# Certificates: name -> (subject, alternative names).
_API_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
CERTIFICATES = {
    "apiserver": (
        "/CN=kube-apiserver",
        [f"DNS:{name}" for name in _API_NAMES] + [f"IP:{ip}" for ip in ("127.0.0.1", API_SERVICE, GATEWAY)],
    ),
    "kubelet": (f"/O=system:nodes/CN=system:node:{NODE}", [f"DNS:{NODE}", "IP:127.0.0.1", f"IP:{GATEWAY}"]),
    "admin": ("/O=system:masters/CN=admin", []),
    "controller-manager": ("/CN=system:kube-controller-manager", []),
    "scheduler": ("/CN=system:kube-scheduler", []),
    QUEUE: ("/CN=kueue", [f"IP:{GATEWAY}"]),
}
CLIENTS = ("admin", "controller-manager", "scheduler", "kubelet")


def command(part: str, at: Layout) -> list[str]:
    """The command line of a part.

    Raises:
        KeyError: there is no such part.
    """
    pki, run = at.pki, at.run
    lines: dict[str, list[str]] = {
        "etcd": [
            f"{at.bin}/etcd", f"--data-dir={run}/etcd", f"--listen-client-urls={at.etcd}",
            f"--advertise-client-urls={at.etcd}", f"--listen-peer-urls=http://127.0.0.1:{at.port(2380)}",
        ],
        "apiserver": [
            f"{at.bin}/kube-apiserver", f"--etcd-servers={at.etcd}", f"--secure-port={at.port(6443)}",
            f"--advertise-address={GATEWAY}", f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key", f"--client-ca-file={pki}/ca.crt",
            f"--service-account-key-file={pki}/service-accounts.key",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=Node,RBAC",
            f"--service-cluster-ip-range={SERVICE_CIDR}", f"--kubelet-client-certificate={pki}/admin.crt",
            f"--kubelet-client-key={pki}/admin.key", "--enable-admission-plugins=NodeRestriction",
        ],
        "controller-manager": [
            f"{at.bin}/kube-controller-manager", f"--kubeconfig={run}/controller-manager.kubeconfig",
            f"--root-ca-file={pki}/ca.crt", f"--service-account-private-key-file={pki}/service-accounts.key",
            "--use-service-account-credentials", "--leader-elect=false",
            f"--authentication-kubeconfig={run}/controller-manager.kubeconfig",
            f"--authorization-kubeconfig={run}/controller-manager.kubeconfig", f"--secure-port={at.port(10257)}",
        ],
        "scheduler": [
            f"{at.bin}/kube-scheduler", f"--kubeconfig={run}/scheduler.kubeconfig", "--leader-elect=false",
            f"--secure-port={at.port(10259)}",
        ],
        "kwok": [
            f"{at.bin}/kwok", f"--kubeconfig={at.kubeconfig}", f"--config={run}/stages.yaml",
            f"--manage-nodes-with-annotation-selector={SIMULATED_NODE}=true",
            f"--server-address=127.0.0.1:{at.port(10247)}", "--node-lease-duration-seconds=40",
        ],
        "containerd": ["containerd", f"--config={run}/containerd.toml"],
        "kubelet": [
            f"{at.bin}/kubelet", f"--config={run}/kubelet.yaml", f"--kubeconfig={run}/kubelet.kubeconfig",
            f"--root-dir={run}/kubelet", f"--cert-dir={pki}", f"--hostname-override={NODE}",
        ],
        "kube-proxy": [f"{at.bin}/kube-proxy", f"--config={run}/kube-proxy.yaml"],
        "coredns": [f"{at.bin}/coredns", f"-conf={run}/Corefile"],
        FIREWALL: [
            f"{at.bin}/kube-router", f"--kubeconfig={run}/admin.kubeconfig", f"--hostname-override={NODE}",
            "--run-firewall=true", "--run-router=false", "--run-service-proxy=false",
            f"--service-cluster-ip-range={SERVICE_CIDR}", "--health-port=0",
        ],
        QUEUE: [
            f"{at.bin}/kueue", f"--config={run}/kueue.yaml", f"--kubeconfig={at.kubeconfig}",
            "--feature-gates=VisibilityOnDemand=false",
        ],
    }  # fmt: skip
    return lines[part]


def settings(at: Layout) -> dict[str, str]:
    """The files that the parts read, by path below `run`. Those of kubelet and kube-proxy are JSON, which is YAML."""
    run = at.run
    network = {
        "cniVersion": "0.4.0",
        "name": "velodrome",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "velodrome0",
                "isDefaultGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_CIDR}]]},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": f"{at.pki}/ca.crt"},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{at.socket}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,  # some kernels have only version 1 of control groups
        "failSwapOn": False,
        "syncFrequency": "10s",  # a changed Secret reaches its pods six times as soon as by default
        "clusterDomain": "cluster.local",
        "clusterDNS": [GATEWAY],
        "tlsCertFile": f"{at.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{at.pki}/kubelet.key",
        "volumePluginDir": f"{run}/volumeplugins",
        "podLogsDir": f"{run}/podlogs",
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 99,
        "imageGCLowThresholdPercent": 98,
        "nodeStatusUpdateFrequency": "5s",
        "shutdownGracePeriod": "0s",
    }
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{run}/admin.kubeconfig"},
        "mode": "nftables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": NODE,
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    kueue = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{at.port(8081)}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": GATEWAY, "port": at.port(QUEUE_PORT), "certDir": f"{run}/kueue"},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "integrations": {"frameworks": ["batch/job"]},
    }
    # Without restrict_oom_score_adj no pod starts where root lacks CAP_SYS_RESOURCE.
    containerd = f"""\
version = 2
root = "{run}/containerd"
state = "{at.socket.parent}/state"
[grpc]
  address = "{at.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{run}/cni"
"""
    dns = f"""\
cluster.local:53 {{
  bind {GATEWAY}
  kubernetes cluster.local {{
    kubeconfig {run}/admin.kubeconfig local
  }}
}}
"""
    return {
        "cni/10-bridge.conflist": json.dumps(network),
        "kubelet.yaml": json.dumps(kubelet),
        "kube-proxy.yaml": json.dumps(proxy),
        "containerd.toml": containerd,
        "Corefile": dns,
        "kueue.yaml": json.dumps(kueue),
    }
