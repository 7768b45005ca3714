"""An agent that asks the exchange itself says what it runs, so that a silo without an operator is seen as compatible."""

from fedgestalt import __version__
from fedgestalt.silo.sources import ExchangeTasks

from .conftest import Federation


def source(federation: Federation) -> ExchangeTasks:
    return ExchangeTasks(federation.client("west"), federation.client("west"))


def version_of(federation: Federation, silo: str) -> str:
    presence = federation.client("hub").silos()
    return next(found.version for found in presence if found.name == silo)


def test_an_agent_alone_says_its_version_with_its_first_look_for_tasks(federation: Federation) -> None:
    source(federation).wait(0)
    assert version_of(federation, "west") == __version__
    assert version_of(federation, "east") == ""


def test_it_says_so_again_once_an_exchange_that_forgot_may_have_taken_its_place(
    federation: Federation,
) -> None:
    moments = iter((0.0, 1.0, 100.0))
    west = ExchangeTasks(federation.client("west"), federation.client("west"), clock=lambda: next(moments))
    west.wait(0)
    federation.stop()
    federation.start()
    west.wait(0)
    assert version_of(federation, "west") == ""  # not with each of its many looks
    west.wait(0)
    assert version_of(federation, "west") == __version__
