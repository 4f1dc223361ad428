"""Compressors: maps from vectors to the bytes that are really sent, and back (see `base`)."""

from distopt.registry import Registry

REGISTRY = Registry(
    "compressors",
    "compressor",
    {
        "identity": "distopt.compressors.identity:Identity",
    },
)
