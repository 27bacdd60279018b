"""What the engine finds: the protocols of the published systems, and of MTEB."""
