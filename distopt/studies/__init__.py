"""Several runs and what they say together: suites, comparisons, sweeps, measurements, plans."""
