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
    KUBERNETES = "kubernetes"


class EnvironmentStatus(_Word):
    """What an environment is doing."""

    INITIALIZING = "initializing"
    CREATED = "created"
    ACTIVATING = "activating"
    ACTIVE = "active"
    DEACTIVATING = "deactivating"
    INACTIVE = "inactive"
    CLEANUP_START = "cleanup_start"
    CLEANING = "cleaning"
    CLEANUP_COMPLETE = "cleanup_complete"
    ERROR = "error"


class ProcessStatus(_Word):
    """What a command is doing."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"
    TIMEOUT = "timeout"


class ResourceType(_Word):
    """What an environment uses; the keys of ``resource_usage``."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    NETWORK = "network"
    PORT = "port"


class SecurityLevel(_Word):
    """How far an environment is to be kept apart."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    STRICT = "strict"


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
    ENVIRONMENT_CREATED = "environment_created"
    ENVIRONMENT_ACTIVATING = "environment_activating"
    ENVIRONMENT_ACTIVATED = "environment_activated"
    ENVIRONMENT_DEACTIVATING = "environment_deactivating"
    ENVIRONMENT_DEACTIVATED = "environment_deactivated"
    ENVIRONMENT_CLEANUP_START = "environment_cleanup_start"
    ENVIRONMENT_CLEANUP_COMPLETE = "environment_cleanup_complete"
    PROCESS_STARTING = "process_starting"
    PROCESS_STARTED = "process_started"
    PROCESS_STOPPING = "process_stopping"
    PROCESS_STOPPED = "process_stopped"
    NETWORK_ALLOCATING = "network_allocating"
    NETWORK_ALLOCATED = "network_allocated"
    NETWORK_RELEASING = "network_releasing"
    NETWORK_RELEASED = "network_released"
    PACKAGE_INSTALLING = "package_installing"
    PACKAGE_INSTALLED = "package_installed"
    PACKAGE_UNINSTALLED = "package_uninstalled"
    PACKAGE_UPDATED = "package_updated"
    SNAPSHOT_CREATING = "snapshot_creating"
    SNAPSHOT_CREATED = "snapshot_created"
    SNAPSHOT_RESTORING = "snapshot_restoring"
    SNAPSHOT_RESTORED = "snapshot_restored"
    SNAPSHOT_DELETING = "snapshot_deleting"
    SNAPSHOT_DELETED = "snapshot_deleted"
    ERROR_OCCURRED = "error_occurred"
