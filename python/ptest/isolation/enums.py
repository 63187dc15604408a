"""The words of isolation: levels, states, events, policies. The value of each is its name in lower case."""

from __future__ import annotations

from enum import Enum


class _Word(str, Enum):
    def __str__(self) -> str:
        return str(self.value)


class IsolationLevel(_Word):
    """What keeps an environment apart."""

    BASIC = "basic"
    """Packages of its own, and the machine as it is: profile ``none``."""
    VIRTUALENV = "virtualenv"
    """A virtual environment in namespaces of its own."""
    DOCKER = "docker"
    """A container of Docker; there is no engine for it yet."""
    KUBERNETES = "kubernetes"
    """A pod of Kubernetes; there is no engine for it yet."""


class EnvironmentStatus(_Word):
    """What an environment is doing."""

    INITIALIZING = "initializing"
    """It is being made."""
    CREATED = "created"
    """It was made and never activated."""
    ACTIVATING = "activating"
    """It is being activated."""
    ACTIVE = "active"
    """Commands begin at once."""
    DEACTIVATING = "deactivating"
    """What runs in it is being ended."""
    INACTIVE = "inactive"
    """It was active, and is not any more."""
    CLEANUP_START = "cleanup_start"
    """It has been asked to go."""
    CLEANING = "cleaning"
    """It is being taken away."""
    CLEANUP_COMPLETE = "cleanup_complete"
    """It is gone."""
    ERROR = "error"
    """It failed, or the last thing that was asked of it did."""


class ProcessStatus(_Word):
    """What a command is doing."""

    STARTING = "starting"
    """It is being started."""
    RUNNING = "running"
    """It runs."""
    STOPPING = "stopping"
    """It is being ended."""
    STOPPED = "stopped"
    """It has ended."""
    ERROR = "error"
    """It could not be started."""
    TIMEOUT = "timeout"
    """It was ended because its time was up."""


class ResourceType(_Word):
    """What an environment uses; the keys of ``resource_usage``."""

    CPU = "cpu"
    """Processor time, in seconds."""
    MEMORY = "memory"
    """Memory, in bytes."""
    DISK = "disk"
    """Room on the disk, in bytes."""
    NETWORK = "network"
    """Received and sent, in bytes."""
    PORT = "port"
    """How many ports it has."""


class SecurityLevel(_Word):
    """How far an environment is to be kept apart."""

    LOW = "low"
    """It need not be kept apart: ``basic`` is enough."""
    MEDIUM = "medium"
    """It is to be kept apart, as ``virtualenv`` does."""
    HIGH = "high"
    """The same."""
    STRICT = "strict"
    """The same; for code that nobody trusts set ``profile`` to ``strict``."""


class CleanupPolicy(_Word):
    """When a manager's environments go without being asked to."""

    IMMEDIATE = "immediate"
    """When they are deactivated."""
    ON_REQUEST = "on_request"
    """When the manager's block is left, or the process ends."""
    ON_SHUTDOWN = "on_shutdown"
    """When the process ends."""
    SCHEDULED = "scheduled"
    """``cleanup_after`` seconds after they were made, or when the process ends."""
    NEVER = "never"
    """They stay, beyond the end of the process too."""


class IsolationEvent(_Word):
    """What happens to an environment."""

    ENVIRONMENT_CREATING = "environment_creating"
    """One is about to be made."""
    ENVIRONMENT_CREATED = "environment_created"
    """It is there."""
    ENVIRONMENT_ACTIVATING = "environment_activating"
    """It is about to be activated."""
    ENVIRONMENT_ACTIVATED = "environment_activated"
    """It is active."""
    ENVIRONMENT_DEACTIVATING = "environment_deactivating"
    """It is about to be deactivated."""
    ENVIRONMENT_DEACTIVATED = "environment_deactivated"
    """Nothing runs in it any more."""
    ENVIRONMENT_CLEANUP_START = "environment_cleanup_start"
    """It is about to be taken away."""
    ENVIRONMENT_CLEANUP_COMPLETE = "environment_cleanup_complete"
    """It is gone."""
    PROCESS_STARTING = "process_starting"
    """A command is about to be started."""
    PROCESS_STARTED = "process_started"
    """It runs."""
    PROCESS_STOPPING = "process_stopping"
    """It is about to be ended."""
    PROCESS_STOPPED = "process_stopped"
    """It has ended."""
    NETWORK_ALLOCATING = "network_allocating"
    """A port is about to be leased."""
    NETWORK_ALLOCATED = "network_allocated"
    """It is leased."""
    NETWORK_RELEASING = "network_releasing"
    """It is about to be given back."""
    NETWORK_RELEASED = "network_released"
    """It is given back."""
    PACKAGE_INSTALLING = "package_installing"
    """A package is about to be installed."""
    PACKAGE_INSTALLED = "package_installed"
    """It was not there and is."""
    PACKAGE_UNINSTALLED = "package_uninstalled"
    """It was there and is not."""
    PACKAGE_UPDATED = "package_updated"
    """It has another version."""
    SNAPSHOT_CREATING = "snapshot_creating"
    """A snapshot is about to be taken."""
    SNAPSHOT_CREATED = "snapshot_created"
    """It is taken."""
    SNAPSHOT_RESTORING = "snapshot_restoring"
    """One is about to be gone back to."""
    SNAPSHOT_RESTORED = "snapshot_restored"
    """The environment is as it was."""
    SNAPSHOT_DELETING = "snapshot_deleting"
    """One is about to be deleted."""
    SNAPSHOT_DELETED = "snapshot_deleted"
    """It is deleted."""
    ERROR_OCCURRED = "error_occurred"
    """Something failed; the payload says what."""
