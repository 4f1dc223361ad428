"""The laws that plugins must obey: run these on your own classes, in your own tests."""

from distopt.compressors.laws import check_compressor
from distopt.costs.laws import check_cost

__all__ = ["check_compressor", "check_cost"]
