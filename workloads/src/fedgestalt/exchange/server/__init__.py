"""The exchange's server: FastAPI over a :class:`fedgestalt.exchange.storage.BoardStorage`."""
