"""Theory and reports: Lyapunov functions, parameter rules, tables and figures."""
