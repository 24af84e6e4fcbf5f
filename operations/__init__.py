"""What operations has while everybody else is away: alerts, runbooks, and whoever carries them out."""
