"""The operator's role at a hospital: the link to the hub's exchange, local SiloTasks and ParticipationGrants."""
