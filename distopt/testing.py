"""The laws that plugins must obey: run these on your own classes, in your own tests."""

from distopt.compressors.laws import check_compressor
from distopt.engine.laws import check_algorithm
from distopt.problems.costs.laws import check_cost

__all__ = ["check_algorithm", "check_compressor", "check_cost"]
