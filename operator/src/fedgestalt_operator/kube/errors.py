"""What can go wrong at the cluster port."""


class ClusterError(Exception):
    """Base of the cluster port's errors."""


class NotFound(ClusterError):  # noqa: N818  # Kubernetes' own reason
    """No such object, or no such namespace to create it in (HTTP 404)."""


class AlreadyExists(ClusterError):  # noqa: N818
    """An object of this kind and name is there already (HTTP 409, reason AlreadyExists)."""


class Conflict(ClusterError):  # noqa: N818
    """The object has changed since it was read (HTTP 409, reason Conflict): read it again."""


class Gone(ClusterError):  # noqa: N818
    """The watch asks for events that are no longer kept (HTTP 410): list, then watch anew."""


class Forbidden(ClusterError):  # noqa: N818
    """The credentials are refused (HTTP 401) or may not do this (HTTP 403). Names verb, kind and namespace."""


class NotServed(ClusterError):  # noqa: N818
    """The cluster does not know the kind at all: unlike NotFound, this says nothing about the object."""


class ClusterUnavailable(ClusterError):  # noqa: N818
    """No answer, or none now (connection lost, timeout, HTTP 429 or 5xx): try again later.

    A write may or may not have happened: read before deciding.
    """
