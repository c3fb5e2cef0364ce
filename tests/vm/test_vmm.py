# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VMM beside the daemon: whoever says that it wants a function gets it at the first try, and nothing ever hangs."""

import random

import pytest

import guest as vm
from daemon import ALSO_CLAIMED, CLAIMED, OBSERVED, PLUGGED, path
from player import Hand, Vmm
from walk import ERROR, SECOND, VENDOR, Walk, WalkError, Walker

STEPS = 4  # of a round

# The second function is taken only after it was idle for a while.
SETTLE = f'''
printf '[Function {vm.address(ALSO_CLAIMED)}]\\nSettleSec=1\\n' >/etc/zpci-errord.conf.d/settle.conf
systemctl reload zpci-errord
'''


@pytest.fixture(scope='module')
def hand(guest):
    hand = Hand(guest)
    yield hand
    hand.command.stop()


@pytest.fixture
def vmm(guest):
    vmm = Vmm(guest)
    yield vmm
    vmm.command.stop()


def test_vmm_that_knows_nothing_is_served_under_observe(daemon, hand, vmm):
    """Hundred opens without a word to anybody; the daemon publishes what it sees, and never has the device."""
    for _ in range(20):
        vmm.do('open', vm.address(OBSERVED))
        vmm.do('close')
    assert daemon.wait_seen(hand, OBSERVED, [('observed', 'policy')])[3] == '-'


def test_random_walk(guest, daemon, hand, pytestconfig):
    seed, rounds = pytestconfig.getoption('walk_seed'), pytestconfig.getoption('walk_rounds')
    guest.run(SETTLE)
    walk = Walk(guest, daemon, hand, random.Random(seed))
    walkers = [Walker(walk, CLAIMED, 'claim'), Walker(walk, ALSO_CLAIMED, 'claim'), Walker(walk, OBSERVED, 'observe')]
    try:
        for n in range(rounds):
            walkers[n % len(walkers)].round(STEPS)
    except (AssertionError, vm.GuestError) as error:
        steps = '\n'.join(walk.trace)
        raise WalkError(f'--walk-seed={seed}, round {n + 1}: {error}\nsteps:\n{steps}') from error
    print(f'walk: seed {seed}, {walk.summary()}')
