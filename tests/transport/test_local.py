"""What the transport of one process counts."""

import networkx as nx
import numpy as np
import pytest

from distopt.problems.topology import Topology
from distopt.transport.local import LocalTransport


@pytest.mark.parametrize("as_rows", [False, True])
@pytest.mark.parametrize(("agents", "once", "copies"), [(1, 0, 0), (2, 5, 5), (3, 9, 18)])
def test_what_nobody_hears_is_not_sent(agents, once, copies, as_rows):
    sizes = np.array([2, 3, 4][:agents])
    transport = LocalTransport(Topology.from_graph(nx.complete_graph(agents)))
    if as_rows:
        transport.tally(sizes)
    else:
        transport.exchange([np.zeros(size, np.uint8) for size in sizes])
    assert transport.traffic.nbytes == once
    assert transport.traffic.nbytes_on_wire == copies
