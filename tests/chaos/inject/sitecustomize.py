"""Imported by every Python that has this folder on its PYTHONPATH: arms the process if a plan of kills is named.

The product has no hooks for this: what is armed is wrapped from outside, after the import of its module.
"""

import os

if os.environ.get("FEDGESTALT_CHAOS"):
    import crashes

    crashes.arm()
