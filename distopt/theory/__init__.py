"""What is known before and about a run: facts, rules of "auto", Lyapunov functions, PL*."""
