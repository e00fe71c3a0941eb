"""What came out: run directory, percentiles, SLO, validity."""
