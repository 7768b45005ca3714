"""Real API servers for the tests of this folder, started when the first test asks and stopped at the end."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from .api_server import ApiServer
from .control_plane import running

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests whose fixtures start a server need not say so; one that asks for it by name at run time must."""
    for item in items:
        if "kube_assets" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


class StartServer(Protocol):
    """Starts one more server, with the CRDs installed; it runs until the session ends."""

    def __call__(self, name: str, *, controllers: bool = False, crds: bool = True) -> ApiServer: ...


@pytest.fixture(scope="session")
def kube_assets() -> Path:
    """The folder with etcd, kube-apiserver and kubectl; building it would outlast a test's time."""
    script = subprocess.run(
        [ROOT / "scripts" / "kube-assets", "--no-build"], capture_output=True, text=True, check=False
    )
    if script.returncode:
        pytest.fail(script.stderr.strip(), pytrace=False)
    return Path(script.stdout.strip())


@pytest.fixture(scope="session")
def start_server(kube_assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    with ExitStack() as stack:

        def start(name: str, *, controllers: bool = False, crds: bool = True) -> ApiServer:
            if controllers and not (kube_assets / "kube-controller-manager").exists():
                pytest.skip(f"{kube_assets} holds no kube-controller-manager, as envtest's archives do not")
            folder = tmp_path_factory.mktemp(name)
            server = stack.enter_context(running(kube_assets, folder, controllers=controllers))
            if crds:
                server.install_crds()
            return server

        yield start


@pytest.fixture(scope="session")
def api_server(start_server: StartServer) -> ApiServer:
    """The server that most tests share: RBAC, the CRDs, no controllers."""
    return start_server("hub")


@pytest.fixture(scope="session")
def site_server(start_server: StartServer) -> ApiServer:
    """A second cluster, for what happens between a hub and a site."""
    return start_server("site")


@pytest.fixture(scope="session")
def controlled_server(start_server: StartServer) -> ApiServer:
    """A server whose Jobs make pods and whose owners take their children along."""
    return start_server("controlled", controllers=True)


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """A namespace of the test's own on `api_server`."""
    return api_server.namespace(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits until something is true of a server, and fails naming it when it is not after a minute."""

    def wait(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                pytest.fail(f"not so after {seconds:.0f} s: {what}")
            time.sleep(0.05)

    return wait
