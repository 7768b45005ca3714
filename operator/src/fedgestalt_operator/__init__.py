"""Resources, planner and cluster port of fedgestalt: what decides, apart from what computes."""
