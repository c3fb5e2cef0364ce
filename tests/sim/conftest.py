# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the simulator's own tests."""
import pytest

from client import Client
from sim import Sim


@pytest.fixture
def sim(build):
    with Sim(build) as sim:
        yield sim


@pytest.fixture
def start(sim):
    """start() gives one more client process."""
    clients = []

    def start(**popen):
        clients.append(Client(sim, **popen))
        return clients[-1]
    yield start
    for client in clients:
        client.end()


@pytest.fixture
def client(start):
    return start()
