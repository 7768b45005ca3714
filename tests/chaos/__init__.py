"""Kills at every boundary, restored backups and bad links, over whole rounds of small vectors."""
