"""What communication costs: a test bed of hosts, interface counters, timed runs, a model, a plan."""
