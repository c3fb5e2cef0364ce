# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VMM beside the daemon: whoever says that it wants a function gets it at the first try, and nothing ever hangs."""

import random

import pytest

import guest as vm
from daemon import ALSO_CLAIMED, CLAIMED, OBSERVED, PLUGGED, path
from player import Vmm
from walk import SECOND, Walk, WalkError
from walker import ERROR, Walker

STEPS = 3  # of a round, before its end is made

# The second function is taken only after it was idle for a while.
SETTLE = f'''
printf '[Function {vm.address(ALSO_CLAIMED)}]\\nSettleSec=1\\n' >/etc/zpci-errord.conf.d/settle.conf
systemctl reload zpci-errord
'''
NO_SETTLE = 'rm /etc/zpci-errord.conf.d/settle.conf; systemctl reload zpci-errord'


@pytest.fixture(scope='module', autouse=True)
def unprinted_journal(running_daemon):
    """Nobody looks at it here, and to have it printed takes a tenth of the guest's time."""
    running_daemon.journal.command.stop()
    yield
    running_daemon.follow_journal()


@pytest.fixture
def vmm(guest):
    vmm = Vmm(guest)
    yield vmm
    vmm.kill()


@pytest.fixture
def claimed(daemon, hand):
    """The number of a function that the daemon holds."""
    hand.do('claim', path(CLAIMED))
    daemon.wait_seen(hand, CLAIMED, [('claimed', '-')])
    return CLAIMED


@pytest.fixture
def attached(guest, daemon, hand, vmm):
    """The number of a function that the VMM has open, and has handed to the daemon. Bound again, if need be, afterwards."""
    vmm.do('open', vm.address(OBSERVED))
    assert vmm.do('attach', 'notify').words == [path(OBSERVED)]
    daemon.wait_seen(hand, OBSERVED, [('delegated', '-')])
    yield OBSERVED
    vmm.kill()
    if guest.run(f'test -e /sys/bus/pci/drivers/vfio-pci/{vm.address(OBSERVED)}', check=False).returncode != 0:
        hand.bind(OBSERVED)
    daemon.wait_seen(hand, OBSERVED, [('observed', 'policy')])


def fail(daemon, vmm, number):
    """Makes an error of what the VMM has open; checks that the daemon publishes its record."""
    daemon.signals.forget()
    failing = int(vmm.do('fault', 2).words[0], 16)
    (_, _, pec, _, _, _, _, details), = daemon.wait_signals(number, 'ErrorReported')
    assert (pec, details['Source'], details['FailingAddress']) == (2, 'vfio', failing)


def devices(guest, daemon):
    """How many VFIO devices the daemon has open."""
    return int(guest.run(f"find /proc/{daemon.pid}/fd -lname 'anon_inode:*vfio-device*' | wc -l").stdout)


def restart_killed(guest, daemon):
    """SIGKILL; returns when the daemon is up again."""
    guest.run(f'kill -KILL {daemon.pid}; tail --pid={daemon.pid} -s 0.01 -f /dev/null; systemctl start zpci-errord')
    daemon.find_pid()


def test_vmm_that_knows_nothing_is_served_under_observe(daemon, hand, vmm):
    """It opens without a word to anybody, again and again."""
    for _ in range(20):
        vmm.do('open', vm.address(OBSERVED))
        vmm.do('close')
    assert daemon.wait_seen(hand, OBSERVED, [('observed', 'policy')])[3] == '-'


def test_vmm_that_inhibits_first(daemon, hand, vmm, claimed):
    vmm.do('inhibit', vm.address(claimed), 'my-guest')
    vmm.do('open', vm.address(claimed))
    assert daemon.wait_seen(hand, claimed, [('observed', 'inhibited')])[3] == 'my-guest'
    assert hand.attempt('claim', path(claimed)).name == ERROR + 'Inhibited'
    vmm.do('close')
    vmm.do('uninhibit')
    daemon.wait_seen(hand, claimed, [('claimed', '-')])


def test_vmm_that_releases_first(daemon, hand, vmm, claimed):
    vmm.do('release', path(claimed), 0, 'my-guest')
    vmm.do('open', vm.address(claimed))
    assert daemon.wait_seen(hand, claimed, [('observed', 'released')])[3] == 'my-guest'
    assert hand.attempt('claim', path(claimed)).name == ERROR + 'Busy'
    assert daemon.wait_seen(hand, claimed, [('observed', 'released')])
    vmm.do('close')
    hand.do('claim', path(claimed))
    daemon.wait_seen(hand, claimed, [('claimed', '-')])


def test_inhibit_of_what_is_bound_afterwards(guest, daemon, hand, vmm):
    """The address is all that is there when the VMM announces itself."""
    vmm.do('inhibit', vm.address(PLUGGED), 'my-guest')
    guest.plug(PLUGGED)
    guest.bind(PLUGGED)
    vmm.do('open', vm.address(PLUGGED))
    assert daemon.wait_seen(hand, PLUGGED, [('observed', 'inhibited')])[3] == 'my-guest'
    vmm.do('close')
    vmm.do('uninhibit')
    daemon.wait_seen(hand, PLUGGED, [('claimed', '-')])
    guest.unplug(PLUGGED)
    daemon.wait_seen(hand, PLUGGED, [None])


def test_record_of_an_attached_device(daemon, hand, vmm, attached):
    """The daemon drains and tells the owner; recovery is the owner's."""
    fail(daemon, vmm, attached)
    vmm.wait_said('notify')
    assert daemon.wait_seen(hand, attached, [('delegated', '-')])[2] == 'left-to-holder'
    vmm.do('reset')
    vmm.do('detach', path(attached))
    daemon.wait_seen(hand, attached, [('observed', 'policy')])
    vmm.do('arm')
    vmm.do('fault', 2)
    vmm.wait_said('error')
    vmm.do('reset')


@pytest.mark.parametrize('faulted', [False, True])
def test_killed_owner_leaves_a_free_function(daemon, hand, vmm, attached, faulted):
    """Nobody can ask a dead process to let go."""
    if faulted:
        fail(daemon, vmm, attached)
    vmm.kill()
    free = hand.do('free', vm.address(attached), 2000).usec
    assert free < SECOND
    print(f'free {free / 1000:.0f} ms after the end of the owner')
    daemon.wait_seen(hand, attached, [('observed', 'policy')])


@pytest.mark.parametrize('faulted', [False, True])
def test_unbind_while_attached(daemon, hand, vmm, attached, faulted):
    if faulted:
        fail(daemon, vmm, attached)
    took = hand.unbind(attached)
    assert took < SECOND
    print(f'unbind: {took / 1000:.0f} ms')
    vmm.wait_said('request')
    daemon.wait_seen(hand, attached, [None])
    hand.bind(attached)
    vmm.do('open', vm.address(attached))


def test_daemon_lets_go_on_its_own(guest, daemon, hand, vmm, attached):
    """The kernel's request is meant for the daemon too: its duplicate goes, whatever the owner does."""
    vmm.do('obey', 'no')
    held = devices(guest, daemon)
    hand.start_unbind(attached)
    vmm.wait_said('request')
    daemon.wait_seen(vmm, attached, [('observed', 'policy'), None])
    assert devices(guest, daemon) == held - 1
    vmm.do('close')
    assert hand.answer('the end of an unbind').ok


def test_request_that_the_owner_reads_first(guest, daemon, hand, vmm, attached):
    """Once an eventfd is read, nothing shows that it was signalled: neither to a daemon that was busy just then."""
    vmm.do('obey', 'read')
    guest.run(f'kill -STOP {daemon.pid}')
    hand.start_unbind(attached)
    vmm.wait_said('request')
    guest.run(f'kill -CONT {daemon.pid}')
    # The kernel asks again, but after 10 s.
    took = hand.answer('the end of an unbind').usec
    assert took < 9 * SECOND
    print(f'unbind: {took / 1000:.0f} ms')


def test_hot_unplug_while_attached(guest, daemon, hand, vmm):
    guest.plug(PLUGGED)
    vmm.do('inhibit', vm.address(PLUGGED), 'my-guest')
    guest.bind(PLUGGED)
    vmm.do('open', vm.address(PLUGGED))
    vmm.do('uninhibit')
    vmm.do('attach', 'quiet')
    daemon.wait_seen(hand, PLUGGED, [('delegated', '-')])
    guest.unplug(PLUGGED)
    vmm.wait_said('request')
    daemon.wait_seen(hand, PLUGGED, [None])


def test_inhibitor_outlives_a_killed_daemon(guest, daemon, hand, vmm, claimed):
    vmm.do('inhibit', vm.address(claimed), 'my-guest')
    restart_killed(guest, daemon)
    assert daemon.wait_seen(hand, claimed, [('observed', 'inhibited')])[3] == 'my-guest'
    vmm.do('open', vm.address(claimed))
    vmm.do('close')
    vmm.do('uninhibit')
    daemon.wait_seen(hand, claimed, [('claimed', '-')])


def test_attachment_outlives_a_killed_daemon(guest, daemon, hand, vmm, attached):
    """And the daemon still notices when its owner is killed."""
    restart_killed(guest, daemon)
    daemon.wait_seen(hand, attached, [('delegated', '-')])
    fail(daemon, vmm, attached)
    vmm.do('reset')
    vmm.kill()
    assert hand.do('free', vm.address(attached), 2000).usec < SECOND


def test_random_walk(guest, daemon, hand, pytestconfig):
    """Every order of bind, open, close, claim, inhibit, release, attach, error, unbind, unplug ends right."""
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
    finally:
        for walker in walkers:
            walker.vmm.kill()
        guest.run(NO_SETTLE)
    for walker in walkers:
        walker.leave()
    print(f'walk: seed {seed}, {walk.summary()}')
