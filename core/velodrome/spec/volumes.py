"""Volumes and environment of the pods that trials run in, and the paths that the runner needs for itself. Pure."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from velodrome.keys import ARTIFACTS, VOLUME_ARTIFACTS, VOLUME_REPORT_KEYS
from velodrome.spec.base import Strict
from velodrome.spec.types import KEY, MOUNT_PATH, VARIABLE, Image, Name, ObjectName, Quantity

SPEC_FOLDER: Final = "/etc/velodrome"
AUTHORITY_FOLDER: Final = "/etc/velodrome-redis"
REPORT_FOLDER: Final = "/etc/velodrome-report"
REPORT_KEY_FILE: Final = f"{REPORT_FOLDER}/key"
DATA_FOLDER: Final = "/data"
SCRATCH_FOLDER: Final = "/scratch"
# Where the claim of spec.artifacts is mounted; a part of the scratch folder without one.
ARTIFACTS_FOLDER: Final = f"{SCRATCH_FOLDER}/{ARTIFACTS}"
TEMPORARY_FOLDER: Final = "/tmp"  # noqa: S108 - a folder of the pod, not of this machine # nosec B108
SHARED_MEMORY_FOLDER: Final = "/dev/shm"  # noqa: S108 - as above # nosec B108

# The volumes that each pod has anyway, by name.
OWN_VOLUMES: Final = ("spec", "scratch", "tmp", "shm", "data", "redis-ca", VOLUME_REPORT_KEYS, VOLUME_ARTIFACTS)
# A mount at one of these, or above it, would hide what the runner needs. A mount below it hides nothing.
KEPT_FOLDERS: Final = (
    *(DATA_FOLDER, SCRATCH_FOLDER, TEMPORARY_FOLDER, "/bin", "/lib", "/lib64", "/sbin"),
    *("/usr/bin", "/usr/lib", "/usr/local/bin", "/usr/local/lib"),
)
# Neither may a mount lie below one of these: they are read-only, or the system's.
CLOSED_FOLDERS: Final = (
    *(
        SPEC_FOLDER,
        AUTHORITY_FOLDER,
        REPORT_FOLDER,
        "/dev",
        "/proc",
        "/sys",
        "/opt/libraries",
        "/opt/velodrome",
        "/run/secrets",
        "/var/run/secrets",
    ),
)


def hides(path: str) -> str | None:
    """The folder of the runner that a mount at `path` would hide or change. None if it does no harm."""
    inside = path.rstrip("/") + "/"
    for folder in (*KEPT_FOLDERS, *CLOSED_FOLDERS):
        if f"{folder}/".startswith(inside):
            return folder
    return next((folder for folder in CLOSED_FOLDERS if inside.startswith(f"{folder}/")), None)


class KeySelector(Strict):
    """One key of a ConfigMap or of a Secret."""

    name: ObjectName = Field(description="Name of the object, in the job's namespace.")
    key: str = Field(min_length=1, max_length=253, pattern=KEY, description="Key in the object.")
    optional: bool = Field(default=False, description="Whether the pod also starts without the object or the key.")


class PodField(Strict):
    """A field of the pod itself."""

    field_path: str = Field(
        min_length=1, max_length=317, description="Path of the field, such as spec.nodeName or status.podIP."
    )


class EnvSource(Strict):
    """Where the value of an environment variable comes from: exactly one of these."""

    secret_key_ref: KeySelector | None = Field(
        default=None, description="A key of a Secret; Velodrome never reads its value."
    )
    config_map_key_ref: KeySelector | None = Field(default=None, description="A key of a ConfigMap.")
    field_ref: PodField | None = Field(default=None, description="A field of the pod.")


class EnvVar(Strict):
    """An environment variable of the runner."""

    name: str = Field(pattern=VARIABLE, max_length=256, description="Name of the variable.")
    value: str = Field(default="", max_length=32768, description="Its value.")
    value_from: EnvSource | None = Field(default=None, description="Where its value comes from, instead of `value`.")


class ObjectReference(Strict):
    """A ConfigMap or a Secret, by name."""

    name: ObjectName = Field(description="Name of the object, in the job's namespace.")
    optional: bool = Field(default=False, description="Whether the pod also starts without the object.")


class EnvFrom(Strict):
    """All keys of a ConfigMap or of a Secret as environment variables: exactly one of the two."""

    prefix: str | None = Field(
        default=None, pattern=VARIABLE, max_length=256, description="Put in front of each key, such as AWS_."
    )
    config_map_ref: ObjectReference | None = Field(default=None, description="A ConfigMap.")
    secret_ref: ObjectReference | None = Field(default=None, description="A Secret; Velodrome never reads its values.")


class KeyPath(Strict):
    """A key of a ConfigMap or of a Secret as a file."""

    key: str = Field(min_length=1, max_length=253, pattern=KEY, description="Key in the object.")
    path: str = Field(min_length=1, max_length=1024, description="Path of the file, relative to the mount.")


KeyPaths = tuple[KeyPath, ...]


class ClaimVolume(Strict):
    """A PersistentVolumeClaim as a volume."""

    claim_name: ObjectName = Field(description="Name of a PersistentVolumeClaim in the job's namespace.")


class ConfigMapVolume(Strict):
    """A ConfigMap as files."""

    name: ObjectName = Field(description="Name of a ConfigMap in the job's namespace.")
    items: KeyPaths | None = Field(default=None, max_length=64, description="Which keys; all of them if absent.")
    optional: bool = Field(default=False, description="Whether the pod also starts without the ConfigMap.")


class SecretVolume(Strict):
    """A Secret as files."""

    secret_name: ObjectName = Field(description="Name of a Secret in the job's namespace.")
    items: KeyPaths | None = Field(default=None, max_length=64, description="Which keys; all of them if absent.")
    optional: bool = Field(default=False, description="Whether the pod also starts without the Secret.")


class EmptyDirVolume(Strict):
    """An empty folder that ends with the pod."""

    size_limit: Quantity | None = Field(
        default=None, description="Largest size; runner.scratchSize if absent, and runner.shmSize in memory."
    )
    medium: Literal["", "Memory"] = Field(default="", description="Memory: it is kept in the pod's memory.")


class ImageVolume(Strict):
    """The files of an image, as an OCI artifact or a container image has them."""

    reference: Image = Field(description="The image, pinned by digest.")


class Volume(Strict):
    """A volume of each pod and where it is mounted. It has exactly one source."""

    name: Name = Field(description="Name of the volume, unique in the job.")
    mount_path: str = Field(max_length=1024, pattern=MOUNT_PATH, description="Folder of the container, absolute.")
    sub_path: str | None = Field(
        default=None, min_length=1, max_length=1024, description="Path inside the volume to mount; all of it if absent."
    )
    read_only: bool | None = Field(
        default=None, description="Whether it is mounted read-only; if absent, all but an emptyDir are."
    )
    persistent_volume_claim: ClaimVolume | None = Field(default=None, description="A PersistentVolumeClaim.")
    config_map: ConfigMapVolume | None = Field(default=None, description="A ConfigMap.")
    secret: SecretVolume | None = Field(default=None, description="A Secret; Velodrome never reads its values.")
    empty_dir: EmptyDirVolume | None = Field(default=None, description="An empty folder, which ends with the pod.")
    image: ImageVolume | None = Field(default=None, description="The files of an image; needs Kubernetes 1.35.")


VOLUME_SOURCES: Final = ("persistentVolumeClaim", "configMap", "secret", "emptyDir", "image")
READ_ONLY_SOURCES: Final = ("configMap", "secret", "image")
