"""What goes wrong in secure aggregation. Messages name kind, sender and field, never a value of a secret."""


class SecaggError(Exception):
    """Base of this package's errors."""


class MessageError(SecaggError):
    """Bytes or fields that are no message of the protocol."""


class ComputationError(SecaggError):
    """A frozen computation that cannot be read or breaks a rule of the protocol."""


class SessionError(SecaggError):
    """A call that does not fit the state of the session."""


class SpoolLostError(SecaggError):
    """A masked vector was announced, is no longer in the spool, and the vector offered now is another one.

    The masks of that try are spent: the silo posts the fault SpoolLost and waits for the next try.
    """


class NonFiniteError(SecaggError):
    """A tensor holds NaN or infinity."""


class BoundExceededError(SecaggError):
    """A tensor holds a value beyond its public bound."""


class AggregateError(SecaggError):
    """The board does not hold what an aggregation needs, or what it holds contradicts itself."""
