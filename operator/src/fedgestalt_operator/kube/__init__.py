"""The cluster port, its adapters, and what an API server does to documents: defaults, schemas, rules."""
