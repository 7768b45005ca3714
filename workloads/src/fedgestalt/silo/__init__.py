"""The silo's agent: it holds the keys, the protocol's state and the spool; the trainer holds none of them."""
