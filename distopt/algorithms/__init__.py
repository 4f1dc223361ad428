"""Algorithms: what one agent does in one iteration (see `base`)."""

from distopt.core.registry import Registry

REGISTRY = Registry(
    "algorithms",
    "algorithm",
    {
        "exact_diffusion": "distopt.algorithms.exact_diffusion:ExactDiffusion",
        "gt": "distopt.algorithms.gt:GradientTracking",
        "cgt1": "distopt.algorithms.cgt1:CompressedTracking1",
        "cgt2": "distopt.algorithms.cgt2:CompressedTracking2",
        "cgt3": "distopt.algorithms.cgt3:CompressedTracking3",
        "beer": "distopt.algorithms.beer:Beer",
        "motef": "distopt.algorithms.motef:Motef",
        "cedas": "distopt.algorithms.cedas:Cedas",
        "lead": "distopt.algorithms.lead:Lead",
        "led": "distopt.algorithms.led:LocalExactDiffusion",
        "k_gt": "distopt.algorithms.k_gt:LocalTracking",
        "push_pull": "distopt.algorithms.push_pull:PushPull",
        "dyna_cold": "distopt.algorithms.dyna_cold:DynaCold",
        "diloco": "distopt.algorithms.diloco:DiLoCo",
        "averaged": "distopt.algorithms.averaged:AveragedGradients",
        "choco": "distopt.algorithms.choco:Choco",
        "fixed_point_gd": "distopt.algorithms.fixed_point_gd:FixedPointGD",
        "dgd": "distopt.algorithms.dgd:DecentralizedGradientDescent",
        "primal_dual": "distopt.algorithms.primal_dual:PrimalDual",
        "zed": "distopt.algorithms.zed:Zed",
        "zed1": "distopt.algorithms.zed1:Zed1",
        "zest": "distopt.algorithms.zest:Zest",
    },
    default="zed",  # what to take when one knows nothing (docs: choose)
)
