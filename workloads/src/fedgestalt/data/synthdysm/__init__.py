"""SynthDysm: synthetic faces whose dysmorphic features follow HPO terms. They say nothing about clinical accuracy."""

from .pretraining import PretrainingSet, load_pretraining, render_pretraining
from .profiles import Profile, hpoa_profiles, invented_profiles, weighted_jaccard

__all__ = [
    "PretrainingSet",
    "Profile",
    "hpoa_profiles",
    "invented_profiles",
    "load_pretraining",
    "render_pretraining",
    "weighted_jaccard",
]
