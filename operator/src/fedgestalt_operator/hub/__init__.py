"""The hub's role: reconciles FederationRounds, Silos and Releases of one cluster through the ports."""
