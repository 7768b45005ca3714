"""Metrics count what happened under bounded labels, in a registry of their own."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from fedgestalt_operator.api.round import Phase
from fedgestalt_operator.plan.kinds import Kind
from fedgestalt_operator.plan.types import JobKind
from fedgestalt_operator.telemetry.metrics import EventOutcome, Metrics, Outcome, SiloStanding
from fedgestalt_operator.telemetry.subject import Resource


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"fedgestalt_operator_{name}", labels)


def test_a_reconcile_counts_and_is_timed_and_marks_the_moment():
    clock = Clock()
    metrics = Metrics(now=clock)
    clock.now = 1_234.0
    metrics.reconciled(Resource.FEDERATION_ROUND, Outcome.OK, 0.2)
    kind = {"kind": "FederationRound"}
    assert value(metrics, "reconciles_total", **kind, outcome="ok") == 1
    assert value(metrics, "reconciles_total", **kind, outcome="error") == 0
    assert value(metrics, "reconcile_seconds_sum", **kind) == 0.2
    assert value(metrics, "reconcile_seconds_bucket", **kind, le="0.1") == 0
    assert value(metrics, "reconcile_seconds_bucket", **kind, le="0.25") == 1
    assert value(metrics, "last_reconcile_timestamp_seconds") == 1_234.0


def test_phases_and_standings_without_members_fall_to_zero():
    metrics = Metrics()
    metrics.rounds({Phase.TRAINING: 3})
    metrics.rounds({Phase.ENCODING: 2})
    metrics.silos({SiloStanding.LOST: 1})
    assert value(metrics, "rounds", phase="Training") == 0
    assert value(metrics, "rounds", phase="Encoding") == 2
    assert value(metrics, "silos", state="lost") == 1
    assert value(metrics, "silos", state="connected") == 0


def test_everything_else_counts_too():
    clock = Clock()
    metrics = Metrics(now=clock)
    metrics.queue_depth(7)
    metrics.queue_waited(0.3)
    metrics.job_created(JobKind.KERNEL)
    metrics.decided(Kind.ADVANCE)
    metrics.status_written(Resource.RELEASE)
    metrics.event_handled(EventOutcome.LOST)
    metrics.watched(Resource.SILO)
    assert value(metrics, "queue_depth") == 7
    assert value(metrics, "queue_wait_seconds_count") == 1
    assert value(metrics, "jobs_created_total", kind="kernel") == 1
    assert value(metrics, "jobs_created_total", kind="aggregate") == 0
    assert value(metrics, "decisions_total", kind="advance") == 1
    assert value(metrics, "status_writes_total", kind="Release") == 1
    assert value(metrics, "events_total", outcome="lost") == 1
    assert value(metrics, "watch_last_event_timestamp_seconds", kind="Silo") == 1_000.0


def test_the_exchange_lag_grows_until_it_answers():
    clock = Clock()
    metrics = Metrics(now=clock)
    clock.now += 40
    metrics.exchange_silent()
    assert (value(metrics, "exchange_up"), value(metrics, "exchange_lag_seconds")) == (0, 40)
    metrics.exchange_answered()
    clock.now += 5
    assert (value(metrics, "exchange_up"), value(metrics, "exchange_lag_seconds")) == (1, 5)


def test_free_text_never_becomes_a_time_series():
    metrics = Metrics()
    for text in ("photo 17", "photo 18", "QuorumLost"):
        metrics.transitioned(Resource.FEDERATION_ROUND, text)
    assert value(metrics, "transitions_total", kind="FederationRound", reason="Other") == 2
    assert value(metrics, "transitions_total", kind="FederationRound", reason="QuorumLost") == 1
    assert b"photo" not in metrics.render()[0]


def test_two_operators_in_one_process_do_not_share_a_registry():
    first, second = Metrics(), Metrics()
    first.queue_depth(3)
    assert value(second, "queue_depth") == 0


def test_the_rendering_is_readable_and_all_names_carry_the_prefix():
    body, content_type = Metrics().render()
    assert content_type.startswith("text/plain")
    families = {family.name for family in text_string_to_metric_families(body.decode())}
    ours = {name for name in families if not name.startswith("process_")}
    assert ours
    assert all(name.startswith("fedgestalt_operator_") for name in ours)


def test_a_scraper_that_wants_openmetrics_gets_it():
    body, content_type = Metrics().render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
