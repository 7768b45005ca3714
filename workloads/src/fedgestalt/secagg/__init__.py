"""Secure aggregation as pure state machines: no transport, no clock, no framework.

The messages and their order are fixed in docs/reference/protocol.md. A silo is a
:class:`~.session.SiloSession`; the hub's part is the stateless :func:`~.aggregate.aggregate`.
"""
