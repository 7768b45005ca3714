"""Requests to an API server: credentials, connections, time limits. What they mean is api_server.py's."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
from kubernetes import config as kubernetes_config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.incluster_config import SERVICE_HOST_ENV_NAME

from .errors import ClusterUnavailable
from .responses import Request, refusal

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 30.0

# A connection that could not be opened has sent nothing, so any request may try again. One that broke later
# may have been carried out: only reads are repeated. What the server says (429, 5xx) is the caller's affair.
_RETRIES: Final = urllib3.Retry(
    total=3,
    connect=2,
    read=2,
    other=0,
    redirect=0,
    status=0,
    allowed_methods={"GET"},
    backoff_factor=0.2,
    respect_retry_after_header=False,
)

Body = Mapping[str, Any] | list[Any]


def load_configuration(kubeconfig: Path | None = None, context: str | None = None) -> Configuration:
    """Where the API server is and who we are, in kubectl's order: the file given, $KUBECONFIG, the pod's
    service account, ~/.kube/config.

    Raises:
        ValueError: none of them is there or readable.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None and "KUBECONFIG" not in os.environ and SERVICE_HOST_ENV_NAME in os.environ:
            kubernetes_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            file = None if kubeconfig is None else str(kubeconfig)
            kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                file, context, configuration, persist_config=False
            )
    except (kubernetes_config.ConfigException, OSError) as error:
        raise ValueError(
            f"no cluster to talk to: {error}; set KUBECONFIG, or run in a pod with a service account"
        ) from None
    return configuration


class Connection:
    """Sends requests to one API server.

    Safe for threads: the client's pool hands each connection to one request at a time (a queue with a lock),
    and the only state of our own, the client that is replaced when credentials have changed, is guarded.
    """

    def __init__(self, load: Callable[[], Configuration], *, connections: int) -> None:
        """Args:
        load: reads the configuration; called again when the server no longer accepts the credentials.
        connections: how many are kept open; more are opened when needed and closed after use.
        """
        self._load, self._connections = load, connections
        self._changing = threading.Lock()
        self._client = self._open()

    def request(
        self,
        request: Request,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
        read_timeout: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The open response of a request that succeeded. Read or close it.

        A token or certificate that was replaced is read again when the server refuses the old one.

        Raises:
            ClusterError: see `responses.refusal`.
            ValueError: the server calls the document invalid.
        """
        client = self._client
        response = self._send(client, request, method, path, query, body, content_type, read_timeout)
        if response.status == 401:
            response.drain_conn()
            client = self._renewed(client)
            response = self._send(client, request, method, path, query, body, content_type, read_timeout)
        if not 200 <= response.status < 300:
            raise refusal(request, response.status, read(request, response))
        return response

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()  # type: ignore[no-untyped-call]

    def _send(
        self,
        client: ApiClient,
        request: Request,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Body | None,
        content_type: str,
        read_timeout: float | None,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": "fedgestalt-operator"}
        if body is not None:
            headers["Content-Type"] = content_type
        with self._changing:  # an exec plugin or a token file is read by one thread at a time
            client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = client.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            answer = client.call_api(
                method, url, headers, body, _request_timeout=(CONNECT_TIMEOUT, read_timeout or READ_TIMEOUT)
            )
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise unavailable(request, error) from error
        response: urllib3.BaseHTTPResponse = answer.response
        return response

    def _open(self) -> ApiClient:
        configuration = self._load()
        configuration.retries = _RETRIES
        configuration.connection_pool_maxsize = self._connections
        configuration.keep_alive = True
        return ApiClient(configuration)

    def _renewed(self, refused: ApiClient) -> ApiClient:
        """A client with credentials read again, unless another thread has just done that."""
        with self._changing:
            if self._client is refused:
                logging.getLogger(__name__).info("credentials were refused; reading them again")
                self._client = self._open()
            return self._client


def read(request: Request, response: urllib3.BaseHTTPResponse) -> bytes:
    """The whole body; the connection goes back to the pool."""
    try:
        return response.data
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unavailable(request, error) from error


def unavailable(request: Request, error: Exception) -> ClusterUnavailable:
    """The error for an answer that did not come."""
    reason = getattr(error, "reason", None) or error
    return ClusterUnavailable(f"{request}: no answer from the API server: {reason}")
