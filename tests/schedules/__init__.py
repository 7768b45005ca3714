"""Random schedules of a whole hub: its reconciler, against a simulated cluster, exchange and silos, all of which fail."""
