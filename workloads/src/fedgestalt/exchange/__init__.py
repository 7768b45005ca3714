"""The board: an append-only record of signed messages and content-addressed blobs; server and client."""
