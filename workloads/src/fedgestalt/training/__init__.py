"""Local training inside one silo and the server step of a federation round.

Two halves meet here. `config`, `naming`, `bounds`, `strategies`, `frames`, `link` and `endpoint` are plain
Python and NumPy: the silo agent, which holds keys and has no torch, imports them. Everything else needs torch
(and Ray in `ray_loop`). Nothing is imported here, so that `import fedgestalt.training` stays free of both.
"""
