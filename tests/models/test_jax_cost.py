"""A loss in JAX as a cost: the mathematics, the names, and every refusal."""

import re

import numpy as np
import pytest
from model_laws import ROUNDING, assert_own_gradients_in_float32

import distopt
from distopt.core.errors import DataError
from distopt.problems.costs.laws import check_cost

jax = pytest.importorskip("jax", reason='JAX is not installed ("distopt-mpi[jax]")')

import distopt.jax  # noqa: E402

ZED = distopt.Zed(eta=0.1)


def parameters(**more):
    rng = np.random.default_rng(1)
    first = {"w": np.float32(rng.normal(size=(3, 4))), "b": np.zeros(4, "f4")}
    return {"first": first, "second": {"w": np.float32(rng.normal(size=4))}} | more


def output(p, a):
    return jax.numpy.tanh(a @ p["first"]["w"] + p["first"]["b"]) @ p["second"]["w"]


def loss(p, a, b):
    return ((output(p, a) - b) ** 2).mean()


def data(agent=0, samples=11):
    a = np.random.default_rng([7, agent]).normal(size=(samples, 3)).astype("f4")
    return a, a.sum(1)


def cost(agent=0, p=None, loss=loss, **keys):
    return distopt.jax.Cost(loss, p or parameters(), data(agent), **keys)


def costs(**keys):
    return [cost(agent, **keys) for agent in range(2)]


def simulate(costs, **keys):
    return distopt.simulate(costs, algorithm=ZED, iterations=keys.pop("iterations", 6), **keys)


def test_it_keeps_the_laws_of_costs():
    check_cost(cost(at_once=4), points=2, tolerance=ROUNDING)


def test_gradient_is_that_of_jax():
    own, out = cost(at_once=4), np.empty(20)
    wanted = jax.tree.leaves(jax.grad(loss)(parameters(), *data()))
    own.gradient(own.start, out)
    np.testing.assert_allclose(
        out, np.concatenate([np.ravel(w) for w in wanted]), rtol=1e-4, atol=1e-5
    )


def test_parameters_have_places_and_names_and_come_back():
    own = cost()
    assert (own.dimension, own.blocks) == (20, [0, 16, 20])
    assert [own.name_of(i) for i in (0, 4, 15, 19)] == [
        "first.b[0]", "first.w[0, 0]", "first.w[2, 3]", "second.w[3]",
    ]  # fmt: skip
    back = own.parameters_at(own.start)
    assert np.array_equal(back["first"]["w"], parameters()["first"]["w"])


def test_a_run_with_batches_and_measures_goes_on_to_the_bit(tmp_path):
    def make():
        four = costs(batch=4)
        four[1] = cost(
            1,
            batch=4,
            held_out=data(9),
            measures={"worst": lambda p, a, b: abs(output(p, a) - b).max()},
        )
        return four

    whole = simulate(make(), out=tmp_path / "whole", iterations=8)
    assert set(whole.summary["measures"]) == {"loss", "worst"}
    assert whole.rows[-1]["objective"] < whole.rows[0]["objective"]
    simulate(make(), out=tmp_path / "half", iterations=4)
    resumed = simulate(make(), out=tmp_path / "half", iterations=8, resume=True)
    assert all(np.array_equal(a, b) for a, b in zip(whole.x, resumed.x, strict=True))


def test_the_model_leaves_under_its_names(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    from distopt.show.models import write_state

    result = simulate(costs(), out=tmp_path / "run")
    assert write_state(tmp_path / "run", tmp_path / "model.safetensors") == []
    found = numpy.load_file(tmp_path / "model.safetensors")
    wanted = cost().parameters_at(np.mean(result.x, axis=0))
    assert found.keys() == {"first.b", "first.w", "second.w"}
    assert np.array_equal(found["first.w"], wanted["first"]["w"])


def vector(p, a, b):
    return (output(p, a) - b) ** 2


def rooted(p, a, b):
    return loss(p, a, b) + jax.numpy.sqrt((p["first"]["b"] ** 2).sum())


BAD = {
    "unused": (
        {"p": parameters(third=np.zeros(2, "f4"))},
        "has the parameter third, which its loss does not depend on",
    ),
    "integers": (
        {"p": parameters(third=np.zeros(2, int))},
        "has the parameter third in int64; accepted: arrays that",
    ),
    "empty": ({"p": {"none": ()}}, "has no parameter"),
    "vector": ({"loss": vector}, r"is not a scalar array but \[[12]\]; take the mean"),
    "sum": (
        {"loss": lambda p, a, b: vector(p, a, b).sum()},
        "it must be their mean: take the mean",
    ),
    "nan": (
        {"loss": lambda p, a, b: loss(p, a, b) * np.nan},
        "has the loss nan at the start, for samples 0 to 10",
    ),
    "gradient": ({"loss": rooted}, r"has a gradient of nan at the start, for first.b\[0\]"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_sentence_that_names_the_agent(name):
    keys, sentence = BAD[name]
    with pytest.raises(DataError) as caught:
        simulate(costs(**keys))
    assert re.search(f"^The cost of agent 0: .*{sentence}", str(caught.value))


def test_data_that_do_not_fit():
    four = costs()
    four[1] = distopt.jax.Cost(loss, parameters(), (data()[0], data()[1][:5]))
    with pytest.raises(
        DataError, match=r"The cost of agent 1: it has arrays of the shapes \[11, 3\], \[5\]"
    ):
        simulate(four)
    four[1] = distopt.jax.Cost(loss, parameters(), data()[0])
    with pytest.raises(
        DataError, match=r"The cost of agent 1: it has a ndarray as data; accepted: a tuple"
    ):
        simulate(four)
    four[1] = cost(
        2,
        p={"first": {"w": np.zeros((3, 5), "f4")}, "second": {"w": np.zeros(5, "f4")}},
        loss=lambda p, a, b: (a @ p["first"]["w"] @ p["second"]["w"]).mean(),
    )
    with pytest.raises(
        DataError, match=r"Agent 1: the parameter first.w stands where agent 0 has first.b"
    ):
        simulate(four)


def test_an_exception_of_the_loss_names_file_and_line():
    def wrong(p, a, b):
        return loss(p, a.T, b)

    with pytest.raises(DataError, match=r"test_jax_cost.py, line \d+: check failed with TypeError"):
        simulate(costs(loss=wrong))


def test_a_float32_run_has_the_models_own_gradients(tmp_path):
    assert_own_gradients_in_float32(cost, tmp_path)
