"""Epochs on the hub: the rotated rows that queries are answered from, who may ask, and how often.

`values` names the things, `database` and the tables keep them, `service` answers, `client` is the silo's side.
"""
