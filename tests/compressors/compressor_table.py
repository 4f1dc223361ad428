"""One line per compressor and notable setting; every law and golden file runs over it."""

from distopt.compressors.anq import Anq
from distopt.compressors.blockwise import Blockwise
from distopt.compressors.cast import Cast
from distopt.compressors.fixed_point import FixedPoint
from distopt.compressors.identity import Identity
from distopt.compressors.noisy import Noisy
from distopt.compressors.norm_sign import NormSign
from distopt.compressors.one_bit import OneBit
from distopt.compressors.quantize import Quantize
from distopt.compressors.rand_k import RandK
from distopt.compressors.saturating import Saturating
from distopt.compressors.sparse_zoom import SparseZoom
from distopt.compressors.ternary import Ternary
from distopt.compressors.top_k import TopK
from distopt.compressors.unbiased_rand_k import UnbiasedRandK
from distopt.compressors.uniform import Uniform
from distopt.compressors.zoom import Zoom
from distopt.compressors.zoom_sign import ZoomSign

COMPRESSORS = {  # a new compressor adds one line, and a golden file by write_golden.py
    "anq": Anq(),
    "anq-fine": Anq(absolute=0.01, relative=0.02),
    "anq-range": Anq(relative=0.5, entropy="range", alone=True),
    "identity": Identity(),
    "cast-float32": Cast(),
    "cast-float16": Cast(dtype="float16"),
    "cast-bfloat16": Cast(dtype="bfloat16"),
    "noisy": Noisy(noise=0.3, values=Saturating(bits=3)),
    "noisy-uniform-range": Noisy(noise=0.2, values=Uniform(delta=0.25, entropy="range")),
    "noisy-blockwise": Noisy(noise=0.1, values=Blockwise(block=6, values=OneBit())),
    "norm_sign": NormSign(),
    "norm_sign-wide": NormSign(scale="float64"),
    "quantize-1": Quantize(bits=1),
    "quantize-4": Quantize(bits=4),
    "quantize-8-two": Quantize(bits=8, norm="two"),
    "quantize-15-wide": Quantize(bits=15, scale="float64"),
    "quantize-3-blocks": Quantize(bits=3, block=6),
    "quantize-2-dithered": Quantize(bits=2, dithered=True),
    "quantize-9-dithered-blocks": Quantize(bits=9, dithered=True, norm="two", block=5),
    "quantize-4-range": Quantize(bits=4, entropy="range"),
    "quantize-2-dithered-blocks-fast": Quantize(bits=2, dithered=True, block=6, entropy="fast"),
    "ternary": Ternary(),
    "ternary-range": Ternary(entropy="range"),
    "ternary-wide-fast": Ternary(scale="float64", entropy="fast"),
    "uniform": Uniform(delta=0.25),
    "uniform-dithered": Uniform(delta=0.3, dithered=True),
    "uniform-range": Uniform(delta=0.25, entropy="range"),
    "uniform-inset": Uniform(delta=0.25, entropy="range", inset=0.08, alone=True),
    "uniform-dithered-fast": Uniform(delta=0.3, dithered=True, entropy="fast"),
    "one_bit": OneBit(),
    "saturating-3": Saturating(bits=3),
    "saturating-11": Saturating(bits=11),
    "saturating-3-range": Saturating(bits=3, entropy="range"),
    "saturating-16-range": Saturating(bits=16, entropy="range"),
    "saturating-16-fast": Saturating(bits=16, entropy="fast"),
    "saturating-16-rans": Saturating(bits=16, entropy="rans"),
    "top_k": TopK(fraction=0.1),
    "top_k-half-cast": TopK(fraction=0.5, values=Cast(dtype="bfloat16")),
    "top_k-quantize": TopK(fraction=0.3, values=Quantize(bits=4, dithered=True)),
    "top_k-quantize-range": TopK(fraction=0.3, values=Quantize(bits=3, entropy="range")),
    "rand_k": RandK(fraction=0.3),
    "blockwise": Blockwise(block=6, values=Quantize(bits=3)),
    "blockwise-top_k": Blockwise(
        block=9, values=TopK(fraction=0.3, values=Quantize(bits=4, dithered=True))
    ),
    "unbiased_rand_k": UnbiasedRandK(k=1),
    "unbiased_rand_k-ternary": UnbiasedRandK(fraction=0.5, values=Ternary()),
    "fixed_point": FixedPoint(),
    "fixed_point-blocks": FixedPoint(bits=3, block=6),
    "fixed_point-q2.6": FixedPoint(format="Q2.6"),
    "fixed_point-q1.10-sr_eps": FixedPoint(format="Q1.10", mode="SR_eps", eps=0.25),
    "fixed_point-rz": FixedPoint(bits=16, mode="RZ"),
    "zoom": Zoom(),
    "zoom-open": Zoom(alone=False),
    "zoom-fast": Zoom(entropy="fast"),
    "zoom-rans": Zoom(entropy="rans"),
    "zoom_sign": ZoomSign(),
    "sparse_zoom": SparseZoom(),
    "sparse_zoom-half": SparseZoom(density=0.5),
}
