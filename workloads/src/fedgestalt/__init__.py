"""Federated, privacy-preserving matching of faces with rare genetic syndromes across hospitals.

Research use only: nothing in this package makes or supports a diagnosis.
"""

__version__ = "0.1.0"
