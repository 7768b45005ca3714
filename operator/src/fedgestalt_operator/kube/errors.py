"""What can go wrong at the cluster port."""


class ClusterError(Exception):
    """Base of the cluster port's errors."""


class NotFound(ClusterError):  # noqa: N818  # Kubernetes' own reason
    """No such object (HTTP 404)."""


class AlreadyExists(ClusterError):  # noqa: N818
    """An object of this kind and name is there already (HTTP 409, reason AlreadyExists)."""


class Conflict(ClusterError):  # noqa: N818
    """The object has changed since it was read (HTTP 409, reason Conflict): read it again."""


class Gone(ClusterError):  # noqa: N818
    """The watch asks for events that are no longer kept (HTTP 410): list, then watch anew."""
