"""Several runs, and the results that they give together: suites, comparisons, sweeps, plans."""
