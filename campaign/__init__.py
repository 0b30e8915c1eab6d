"""Real processes, real PostgreSQL, faults on purpose; then a judge. `script/campaign` runs it at random."""
