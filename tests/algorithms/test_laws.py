"""Every registered algorithm keeps the contract, with replicas and with sums."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

import distopt
from distopt.algorithms import REGISTRY
from distopt.algorithms.base import Algorithm
from distopt.algorithms.state import State
from distopt.problems.problem import build_problem
from distopt.testing import check_algorithm

ALGORITHMS = {
    "gt": (distopt.GradientTracking(eta=0.02, gamma=0.5), None),
    "gt-atc": (distopt.GradientTracking(eta=0.02, gamma=0.5, form="atc"), None),
    "gt-momentum": (distopt.GradientTracking(eta=0.02, gamma=0.5, beta=0.3), None),
    "exact_diffusion": (distopt.ExactDiffusion(eta=0.02), None),
    "exact_diffusion-momentum": (distopt.ExactDiffusion(eta=0.02, beta=0.3), None),
    "cgt1": (distopt.CompressedTracking1(eta=0.02, gamma=0.3, alpha=0.5), distopt.NormSign()),
    "cgt2": (
        distopt.CompressedTracking2(eta=0.02, gamma=0.3, mu=0.95),
        distopt.Uniform(dithered=True),
    ),
    "cgt3": (distopt.CompressedTracking3(eta=0.02, gamma=0.3, mu=0.97), distopt.OneBit()),
    "cgt3-zoom": (distopt.CompressedTracking3(eta=0.02, gamma=0.3, scale="zoom"), None),
    "beer": (distopt.Beer(eta=0.02, gamma=0.3), distopt.TopK(fraction=0.4)),
    "motef": (distopt.Motef(eta=0.01, gamma=0.3, lam=0.3), distopt.TopK(fraction=0.4)),
    "cedas": (
        distopt.Cedas(eta=0.02, gamma=0.3, alpha=0.5, decay=0.01),
        distopt.Quantize(bits=3, dithered=True),
    ),
    "lead": (
        distopt.Lead(eta=0.02, gamma=0.3, alpha=0.5),
        distopt.Quantize(bits=3, dithered=True),
    ),
    "led": (
        distopt.LocalExactDiffusion(eta=0.02, gamma=0.3, alpha=0.5, local_steps=3),
        distopt.Quantize(bits=3, dithered=True),
    ),
    "k_gt": (
        distopt.LocalTracking(eta=0.01, gamma=0.3, alpha=0.5, local_steps=3),
        distopt.NormSign(),
    ),
    "push_pull": (
        distopt.PushPull(eta=0.01, gamma=0.3, alpha=0.5),
        distopt.Quantize(bits=3, dithered=True),
    ),
    "diloco": (distopt.DiLoCo(local_steps=3, outer_beta=0.5), distopt.SparseZoom(density=0.2)),
    "diloco-sgd": (
        distopt.DiLoCo(
            inner="sgd",
            local_steps=3,
            mean="gossip",
            gamma=0.5,
            alpha=1.0,
            outer_eta=0.7,
            warmup=5,
            horizon=200,
        ),
        distopt.Quantize(bits=4),
    ),
    "averaged": (distopt.AveragedGradients(weight_decay=0.01), distopt.Cast(dtype="bfloat16")),
    "choco": (distopt.Choco(eta=0.02, gamma=0.3), distopt.RandK(fraction=0.5)),
    "dgd": (distopt.DecentralizedGradientDescent(eta=0.02, gamma=0.5), None),
    "fixed_point_gd": (distopt.FixedPointGD(eta=0.125, format="Q4.8"), None),
    "fixed_point_gd-runs": (
        distopt.FixedPointGD(
            eta=0.125, format="Q4.8", repeats=3, round_step={"mode": "signed_SR_eps", "eps": 0.2}
        ),
        None,
    ),
    "primal_dual": (
        distopt.PrimalDual(eta=0.02, gamma=0.3, beta=0.1, alpha=0.5),
        distopt.Quantize(bits=4),
    ),
    "dyna_cold": (distopt.DynaCold(eta=0.02, gamma=0.3, mu=0.97), distopt.OneBit()),
    "zed": (distopt.Zed(eta=0.02), None),
    "zed1": (distopt.Zed1(eta=0.02), None),
    "zest": (distopt.Zest(), None),
    "zest-own": (distopt.Zest(hessian="own"), None),
    "zest-gradient": (distopt.Zest(form="gradient"), distopt.Uniform(dithered=True)),
}


EXACT = build_problem({"name": "diagonal", "agents": 4, "dimension": 9}, {}, Path())


def test_table_is_complete():
    listed = {REGISTRY.name_of(type(algorithm)) for algorithm, _ in ALGORITHMS.values()}
    assert listed == set(REGISTRY)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_contract(name):
    algorithm, compressor = ALGORITHMS[name]
    costs = [EXACT.cost(i) for i in range(4)] if name.startswith("fixed_point_gd") else None
    check_algorithm(algorithm, compressor, costs)
    if "memory" in {f.name for f in fields(algorithm)}:
        check_algorithm(replace(algorithm, memory="sum"), compressor)


def test_forgotten_state_is_noticed():
    class Forgetful(distopt.GradientTracking):
        def init(self, agent, x0):
            s = super().init(agent, x0)
            forgetful = State()
            forgetful.keep(x=s.x, g=s.g)
            forgetful.work(y=s.y, wx=s.wx, wy=s.wy, g_next=s.g_next)
            forgetful.work(updates=s.updates, steps=s.steps)
            s.updates.state = forgetful
            return forgetful

    with pytest.raises(AssertionError, match=r"State\.keep does not name everything"):
        check_algorithm(Forgetful(eta=0.02, gamma=0.5))


def test_lost_tracking_is_noticed():
    class Biased(distopt.GradientTracking):
        def step(self, agent, s, k):
            yield from super().step(agent, s, k)
            s.y *= 1.0 + 1e-9

    with pytest.raises(AssertionError, match="from the mean gradient"):
        check_algorithm(Biased(eta=0.02, gamma=0.5))


def test_contract_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Algorithm()
