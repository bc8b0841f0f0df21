"""What whatsit can do, a file a verb. Stages are put together here and nowhere else."""
