# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures: the installed daemon under a real systemd, and all that goes wrong around it.

Environment: ZPCI_ERRORD_KILLS, how often the daemon is killed; ZPCI_ERRORD_SEED, the seed of all chance."""
import os
import random

import pytest

from faults import Faults
from machine import machine, sim  # noqa: F401
from witnesses import Journal, Subscriber

KILLS, SEED = 150, 1


@pytest.fixture
def kills():
    return int(os.environ.get('ZPCI_ERRORD_KILLS', KILLS))


@pytest.fixture
def faults(machine, sim, bus, kills):  # noqa: F811
    seed = os.environ.get('ZPCI_ERRORD_SEED', SEED)
    machine.choose_bus(bus)
    again = f'again: tests/torture/run --kills {kills} --seed {seed} -k {bus}'
    faults = Faults(machine, sim, bus, random.Random(f'{seed} {bus}'), again)
    yield faults
    faults.close()


@pytest.fixture
def subscriber(faults, machine):  # noqa: F811
    subscriber = Subscriber(machine.bus_address)
    yield subscriber
    subscriber.close()


@pytest.fixture
def journal(faults, machine):  # noqa: F811
    journal = Journal(machine)
    yield journal
    journal.close()
