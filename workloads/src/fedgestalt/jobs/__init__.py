"""The hub's stateless jobs over the board: same inputs, same output blob."""
