"""A PyTorch module as a cost: the mathematics, the bits, the way back, and every refusal."""

import json
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from model_laws import ROUNDING, assert_own_gradients_in_float32

import distopt
from distopt.core.errors import CheckpointError, ConfigError, DataError, DivergedError
from distopt.problems.costs.laws import check_cost

torch = pytest.importorskip("torch", reason='PyTorch is not installed ("distopt-mpi[torch]")')
pytest.importorskip("safetensors")
nn, F = torch.nn, torch.nn.functional

import distopt.torch  # noqa: E402

ZED = distopt.Zed(eta=0.1)


def network(dtype=torch.float32):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)


def data(agent=0, samples=12):
    rng = np.random.default_rng([7, agent])
    inputs = rng.normal(size=(samples, 3)).astype("f4")
    return torch.from_numpy(inputs), torch.from_numpy((inputs.sum(1) > agent - 1.5).astype(int))


def cost(agent=0, module=None, loss=F.cross_entropy, **keys):
    return distopt.torch.Cost(network() if module is None else module, loss, data(agent), **keys)


def costs(**keys):
    return [cost(agent, **keys) for agent in range(4)]


def simulate(costs, **keys):
    return distopt.simulate(costs, algorithm=ZED, iterations=keys.pop("iterations", 8), **keys)


def told(costs, error=DataError):
    with pytest.raises(error) as caught:
        simulate(costs)
    return str(caught.value)


# The mathematics.


def test_it_keeps_the_laws_of_costs():
    check_cost(cost(at_once=5), tolerance=ROUNDING)


def test_value_and_gradient_are_those_of_pytorch():
    inputs, labels = data()
    plain, out = network(torch.float64), np.empty(32)
    loss = F.cross_entropy(plain(inputs.double()), labels)
    loss.backward()
    wanted = np.concatenate([p.grad.numpy().ravel() for p in plain.parameters()])
    own = distopt.torch.Cost(
        network(torch.float64), F.cross_entropy, (inputs.double(), labels), at_once=5
    )
    own.gradient(own.start, out)
    np.testing.assert_allclose(own.value(own.start), loss.item(), rtol=1e-14)
    np.testing.assert_allclose(out, wanted, rtol=1e-12, atol=1e-15)
    own.batch_gradient(own.start, np.arange(12), out)
    np.testing.assert_allclose(out, wanted, rtol=1e-12, atol=1e-15)


def test_a_data_set_gives_what_its_columns_give():
    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, i):
            return data()[0][i], data()[1][i]

    whole, index = cost(), np.array([1, 4, 9])
    tensors = torch.utils.data.TensorDataset(*data())
    for given in (Pairs(), tensors):
        other, a, b = (
            distopt.torch.Cost(network(), F.cross_entropy, given),
            np.empty(32),
            np.empty(32),
        )
        whole.batch_gradient(whole.start, index, a)
        other.batch_gradient(whole.start, index, b)
        assert np.array_equal(a, b)
        assert whole.value(whole.start) == other.value(whole.start)


def test_parameters_have_places_names_and_blocks():
    own = cost()
    assert (own.dimension, own.blocks) == (32, [0, 20, 32])
    assert [own.name_of(i) for i in (0, 14, 15, 31)] == [
        "0.weight[0, 0]",
        "0.weight[4, 2]",
        "0.bias[0]",
        "2.bias[1]",
    ]


def test_a_module_serves_many_costs_and_stays_as_it_is():
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    four = costs(module=module)
    result = simulate(four)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    trained = four[0].module_at(result.x[0])
    assert trained.training
    with torch.no_grad():
        loss = F.cross_entropy(trained(data()[0]), data()[1]).item()
    assert loss == pytest.approx(four[0].value(result.x[0]), rel=1e-6)
    assert result.rows[-1]["objective"] < result.rows[0]["objective"]


def test_frozen_and_shared_parameters():
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2))
    module[2].weight = module[0].weight
    module[3].bias.requires_grad_(False)
    own = cost(module=module)
    assert [part.name for part in own.layout.parts] == ["0.weight", "0.bias", "2.bias", "3.weight"]
    assert json.loads(own.facts["others"]) == {"2.weight": "0.weight", "3.bias": ""}
    check_cost(own, points=1, tolerance=ROUNDING)
    moved = own.module_at(own.start + 1)
    assert moved[2].weight is moved[0].weight
    assert torch.equal(moved[3].bias, module[3].bias)


def test_dropout_is_in_mini_batches_only_and_depends_on_the_batch_alone():
    module = nn.Sequential(nn.Linear(3, 40), nn.Dropout(), nn.Linear(40, 2))
    own, state = cost(module=module), torch.random.get_rng_state()
    again, other, exact, same = np.empty((4, own.dimension))
    index = np.arange(12)
    own.batch_gradient(own.start, index, again)
    own.gradient(own.start, exact)
    torch.rand(3)
    own.batch_gradient(own.start, index, same)
    own.batch_gradient(own.start, index[:11], other)
    assert np.array_equal(again, same)
    assert not np.allclose(again, exact)
    without = cost(module=module.eval())
    without.batch_gradient(own.start, index, same)
    assert np.allclose(same, exact, atol=1e-6)
    torch.random.set_rng_state(state)
    before = torch.rand(1)
    torch.random.set_rng_state(state)
    own.batch_gradient(own.start, index, same)
    assert torch.equal(
        torch.rand(1), before
    )  # the user's own numbers go on as if nothing had happened


def test_augmented_data_depend_on_the_batch_alone():
    class Noisy(torch.utils.data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, i):
            return data()[0][i] + 0.1 * torch.randn(3), data()[1][i]

    loss = partial(F.cross_entropy, label_smoothing=0.1)
    own = distopt.torch.Cost(network(), loss, Noisy())
    assert own.value(own.start) == own.value(own.start)
    assert own.value(own.start) != distopt.torch.Cost(network(), loss, data()).value(own.start)
    assert own.source == "<model>"  # all code is the library's


# In a run.


def test_batch_of_the_cost_is_that_of_the_run():
    one, other = simulate(costs(batch=4)), simulate(costs(), batch=4)
    assert all(np.array_equal(a, b) for a, b in zip(one.x, other.x, strict=True))
    assert not np.array_equal(one.x[0], simulate(costs()).x[0])
    assert np.array_equal(one.x[0], simulate(costs(batch=2), batch=4).x[0])


def test_measures_of_held_out_samples():
    def certainty(output, _):
        return output.softmax(1).amax(1).mean()

    four = costs()
    four[1] = cost(1, held_out=data(9, 7), measures={"certainty": certainty}, at_once=3)
    result = simulate(four, stop={"measures": {"accuracy": ">= 2"}})
    xbar = np.mean(result.x, axis=0)
    with torch.no_grad():
        output, labels = four[0].module_at(xbar)(data(9, 7)[0]), data(9, 7)[1]
    wanted = {
        "loss": F.cross_entropy(output, labels).item(),
        "accuracy": (output.argmax(1) == labels).double().mean().item(),
        "certainty": certainty(output, None).item(),
    }
    assert result.summary["measures"] == pytest.approx(wanted, rel=1e-5)


def test_a_run_starts_at_the_modules_parameters_and_so_do_memories():
    """Memories at 0 would pull all agents to 0, where a network learns nothing."""
    start = cost().start
    first = distopt.simulate(costs(), iterations=1)
    assert np.abs(first.x[0] - start).max() < 0.3 * np.abs(start).max()
    assert first.summary["parameters"]["memory_start"] == "x0"
    assert not first.warnings


def test_agents_that_start_apart_are_warned():
    four = costs()
    torch.manual_seed(2)
    four[2] = cost(2, module=nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)))
    with pytest.warns(distopt.DistoptWarning, match="start from different parameters"):
        result = simulate(four, iterations=1)
    assert any("Agents 0 and 2 start from different parameters" in text for text in result.warnings)
    assert result.summary["parameters"]["memory_start"] == "zeros"


FACTORY = """
import numpy as np, torch
import distopt.torch
from torch.nn.functional import cross_entropy

def make_cost(agent, agents):
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Dropout(0.2), torch.nn.Linear(5, 2))
    inputs = np.random.default_rng(agent).normal(size=(12, 3)).astype("f4")
    return distopt.torch.Cost(network, cross_entropy, (inputs, (inputs.sum(1) > 0).astype(int)), batch=4)
"""
TABLES = {
    "problem": {"name": "python", "file": "own.py", "agents": 4},
    "run": {"iterations": 12, "checkpoint_every": 4, "record_every": 4, "keep": 9},
}


def test_engines_agree_and_a_resumed_run_is_the_same_run(tmp_path):
    (tmp_path / "own.py").write_text(FACTORY)
    config = distopt.make_config(TABLES, tmp_path)
    whole = distopt.run(config, engine="simulate", out=tmp_path / "whole")
    (tmp_path / "own.toml").write_text(config.to_toml())
    command = [sys.executable, "-m", "distopt", "run", "own.toml", "--out", "ranks"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    half = config.with_settings(["run.iterations=4"])
    distopt.run(half, engine="simulate", out=tmp_path / "half")
    resumed = distopt.resume(tmp_path / "half", engine="simulate", iterations=12)
    for place, x in enumerate(whole.x):
        assert np.array_equal(x, resumed.x[place])
        assert np.array_equal(x, last(tmp_path / "ranks", place))


def last(out, agent):
    from distopt.record import checkpoint

    return checkpoint.read_array(checkpoint.latest(out / "checkpoints", 4).place, agent, "x")


def test_another_version_or_another_model_is_no_resume(tmp_path, monkeypatch):
    out = tmp_path / "run"
    simulate(costs(), out=out)
    monkeypatch.setattr(distopt.torch.Cost, "library", "torch 1.0")
    with pytest.raises(
        CheckpointError, match=r"library \('torch .*' in the run, 'torch 1.0' wanted\)"
    ):
        simulate(costs(), out=out, resume=True)
    monkeypatch.undo()
    torch.manual_seed(1)
    other = nn.Sequential(nn.Linear(3, 5, bias=False), nn.Tanh(), nn.Linear(5, 2))
    with pytest.raises(
        CheckpointError, match=r"the parameter 2.weight stands where the run has 0.bias"
    ):
        simulate(costs(module=other), out=out, resume=True)
    assert simulate(costs(), out=out, resume=True, iterations=9).summary["iterations"] == 9


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_the_model_leaves_as_a_state_dict(tmp_path, ending):
    from typer.testing import CliRunner

    from distopt.cli.app import app

    result = simulate(costs(), out=tmp_path / "run")
    file = tmp_path / f"model.{ending}"
    done = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "--torch", str(file)])
    assert done.exit_code == 0, done.output
    if ending == "pt":
        state = torch.load(file)
    else:
        from safetensors.torch import load_file

        state = load_file(file)
    module = network()
    module.load_state_dict(state)
    wanted = cost().module_at(np.mean(result.x, axis=0))
    assert all(
        torch.equal(a, b) for a, b in zip(module.parameters(), wanted.parameters(), strict=True)
    )


# Refusals.


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3))
        self.row = nn.Parameter(self.weight.data[0])

    def forward(self, a):
        return a @ self.weight.T + self.row.sum()


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, a):
        self.calls += self.training
        return self.line(a)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.line, self.head = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, a):
        return self.line(a)


class Rooted(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 2)
        nn.init.zeros_(self.line.weight)

    def forward(self, a):
        return self.line(a) + self.line.weight.square().sum().sqrt()


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(2, 2, sparse=True)

    def forward(self, a):
        return self.rows((a[:, 0] > 0).long())


def half(module):
    module[0].half()
    return module


BAD = {
    "unused": (
        {"module": Unused()},
        "has the parameter head.weight, which its loss does not depend on; remove it",
    ),
    "views": (
        {"module": Tied()},
        "has the parameters row and weight, which share memory without being one parameter",
    ),
    "counter": (
        {"module": Counting()},
        r"has the buffer calls \(int64\), which a forward pass changes",
    ),
    "batch norm": (
        {"module": nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))},
        r"has the layer 1 \(BatchNorm1d\), whose output depends on the whole batch .* GroupNorm",
    ),
    "half": (
        {"module": half(network())},
        r"has the parameter 0.weight in float16; .*module.float\(\)",
    ),
    "empty": ({"module": nn.ReLU()}, "without a trained parameter"),
    "no module": ({"module": 3}, "has a int as module; accepted: a torch.nn.Module"),
    "vector loss": (
        {"loss": lambda o, t: F.cross_entropy(o, t, reduction="none")},
        r"has a loss that is not a scalar tensor but \[2\]; take the mean",
    ),
    "sum": (
        {"loss": lambda o, t: F.cross_entropy(o, t, reduction="sum")},
        r'it must be their mean: take the mean over the samples \(reduction="mean"\)',
    ),
    "random": (
        {"loss": lambda o, t: F.cross_entropy(o, t) * float(np.random.default_rng().uniform(1, 2))},
        "for the same samples; it must not depend on chance",
    ),
    "detached": (
        {"loss": lambda o, t: F.cross_entropy(o.detach(), t)},
        "does not depend on any parameter",
    ),
    "nan": (
        {"loss": lambda o, t: F.cross_entropy(o, t) * float("nan")},
        "has the loss nan at the start, for samples 0 to 11; look for nan",
    ),
    "nan gradient": (
        {"module": Rooted()},
        r"has a gradient of nan at the start, for line.weight\[0, 0\]",
    ),
    "cuda": ({"device": "cuda"}, 'has device = "cuda", but PyTorch finds no CUDA here'),
    "device": ({"device": "tpu"}, 'has device = "tpu", which PyTorch does not find here'),
    "lazy": ({"module": nn.LazyLinear(2)}, "has the parameter weight without a shape"),
    "meta": (
        {"module": nn.Linear(3, 2, device="meta")},
        "has the parameter weight on the device meta",
    ),
    "sparse": (
        {"module": Table()},
        "has the parameter rows.weight, whose gradient is sparse; give its layer sparse = False",
    ),
    "at once": ({"at_once": 0}, "has at_once = 0; accepted: 1 or more"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_sentence_that_names_the_agent(name):
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    keys, sentence = BAD[name]
    four = costs()
    four[2] = cost(2, **keys)
    if name != "half":  # of other parameters the dimensions tell first
        four = [cost(agent, **keys) if "module" in keys else four[agent] for agent in range(4)]
    found = told(four)
    assert re.search(sentence, found)
    assert re.match("The cost of agent [02]: it has ", found)


def test_data_that_do_not_fit(tmp_path):
    four = costs()
    four[1] = distopt.torch.Cost(network(), F.cross_entropy, (data()[0], data()[1][:5]))
    assert "The cost of agent 1: it has columns of 12, 5 samples; all columns" in told(four)
    four[1] = distopt.torch.Cost(network(), F.cross_entropy, iter([1]))
    assert (
        "The cost of agent 1: it has a list_iterator as data; accepted: (inputs, targets)"
        in told(four)
    )
    four[1] = distopt.torch.Cost(network(), F.cross_entropy, (data()[0][:0], data()[1][:0]))
    assert "The cost of agent 1: it has no sample" in told(four)
    with pytest.raises(ConfigError, match="batch = 13 is more than the 12 samples of agent 0"):
        simulate(costs(batch=13))
    four = costs()
    four[3] = distopt.torch.Cost(network(), F.cross_entropy, (data()[0][:, :2], data()[1]))
    assert "failed with RuntimeError: mat1 and mat2 shapes cannot be multiplied" in told(four)


def test_agents_with_other_parameters_are_told_which():
    four = costs()
    reordered = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 8))  # 32 numbers as well
    four[2] = cost(2, module=reordered)
    assert (
        "Agent 2: the parameter 0.weight has the shape [2, 3], that of agent 0 [5, 3]; all need the same"
        in told(four)
    )


def test_a_divergence_names_the_parameter():
    """A loss that explodes on its way."""
    with pytest.raises(
        DivergedError, match=r"g(radient)?\[\d+\] \(\d\.(weight|bias)\[.*\]\) is (nan|-?inf)"
    ):
        distopt.simulate(
            [cost(a, loss=lambda o, t: (o**4).mean()) for a in range(4)],
            algorithm=distopt.Zed(eta=50.0),
            iterations=50,
        )


def test_nothing_is_imported_before_it_is_asked_for():
    program = (
        "import sys, distopt, distopt.cli.app, distopt.engine.interface, distopt.show.models\n"
        "assert not {'torch', 'jax'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_float32_run_has_the_models_own_gradients(tmp_path):
    assert_own_gradients_in_float32(cost, tmp_path)
