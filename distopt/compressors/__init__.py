"""Compressors: maps from vectors to the bytes that are really sent, and back (see `base`)."""

from distopt.core.registry import Registry

REGISTRY = Registry(
    "compressors",
    "compressor",
    {
        "anq": "distopt.compressors.anq:Anq",
        "blockwise": "distopt.compressors.blockwise:Blockwise",
        "cast": "distopt.compressors.cast:Cast",
        "fixed_point": "distopt.compressors.fixed_point:FixedPoint",
        "identity": "distopt.compressors.identity:Identity",
        "noisy": "distopt.compressors.noisy:Noisy",
        "norm_sign": "distopt.compressors.norm_sign:NormSign",
        "one_bit": "distopt.compressors.one_bit:OneBit",
        "quantize": "distopt.compressors.quantize:Quantize",
        "rand_k": "distopt.compressors.rand_k:RandK",
        "saturating": "distopt.compressors.saturating:Saturating",
        "sparse_zoom": "distopt.compressors.sparse_zoom:SparseZoom",
        "ternary": "distopt.compressors.ternary:Ternary",
        "top_k": "distopt.compressors.top_k:TopK",
        "unbiased_rand_k": "distopt.compressors.unbiased_rand_k:UnbiasedRandK",
        "zoom": "distopt.compressors.zoom:Zoom",
        "zoom_sign": "distopt.compressors.zoom_sign:ZoomSign",
        "uniform": "distopt.compressors.uniform:Uniform",
    },
)
