"""A whole federation on one machine: hub, exchange and silos as processes, each in a directory of its own."""
