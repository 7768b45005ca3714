"""Typed models of the resources of group fedgestalt.org. Imports nothing of ours."""

from typing import Final

GROUP: Final = "fedgestalt.org"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
