"""MPI jobs from outside: find mpirun, start it, listen to its ranks."""
