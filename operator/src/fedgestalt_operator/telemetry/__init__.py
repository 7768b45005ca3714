"""What a running operator shows of itself: metrics, probes, logs, Events. Imports api, plan and the cluster port."""
