# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an attachment becomes when the daemon is killed and started again, or the bus is."""
import time

import pytest

from bystander import FAST
from deadline import scaled
from open_files import devices
from owner import Owner, Refused
from published import path

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
FID = 0x10


@pytest.fixture(params=['group', 'cdev'])
def owner(request, sim, bus, daemon, published):
    """It has attached A."""
    sim.add(A, fid=FID, path=request.param, **FAST)
    daemon.start()
    daemon.empty = stored(daemon)
    owner = Owner(sim, bus).take(sim, A, request.param)
    assert owner.attach() == path(FID)
    yield owner
    owner.end()


def stored(daemon):
    """The names of what the service manager keeps."""
    return sorted(name for name, _ in daemon.notify.fds())


def restart(daemon, published):
    """Returns how many seconds it took until it was ready."""
    before = time.monotonic()
    daemon.start()
    published.monitor.wait_owner()
    return time.monotonic() - before


def test_goes_on(sim, daemon, published, owner):
    """The owner is still there: nothing is lost, and it all goes on."""
    sim.error(A, pec=2)
    published.errors(1, FID)
    assert owner.wait_count(owner.notify, 1) == 1
    owner.reset_until_done(owner.device)
    for pec in 3, 4:
        daemon.kill()
        sim.error(A, pec=pec)
        owner.reset_until_done(owner.device)
        restart(daemon, published)
        published.wait_state(FID, 'delegated')
        assert owner.wait_count(owner.notify, 1) == 1
    sim.error(A, pec=5)
    assert owner.wait_count(owner.notify, 1) == 1
    assert [(error.pec, error.details['Source']) for error in published.records()[3]] == \
        [(pec, 'vfio') for pec in (2, 3, 4, 5)]
    assert sim.state(A)['resets'] == 3
    assert owner.refusal(Request=owner.request) == 'AlreadyAttached'

    # It ends as any other.
    owner.detach(path(FID))
    assert (devices(daemon, sim), stored(daemon)) == ([], daemon.empty)
    owner.attach()
    daemon.kill()
    restart(daemon, published)
    published.wait_state(FID, 'delegated')
    owner.kill()
    sim.wait(A, 'held=0')
    published.wait_state(FID, 'observed', 'policy')
    assert stored(daemon) == daemon.empty

    # What has ended does not come back.
    daemon.kill()
    restart(daemon, published)
    assert published.state(FID) == ('observed', 'policy')


@pytest.mark.parametrize('end', ['is killed', 'leaves', 'comes back'])
def test_the_owner_is_gone(sim, daemon, published, owner, end):
    daemon.kill()
    if end == 'is killed':
        owner.kill()
    elif end == 'leaves':
        owner.leave()
    else:
        owner.join()
    assert sim.state(A)['held'] == 1
    before = time.monotonic()
    restart(daemon, published)
    published.wait_state(FID, 'observed', 'policy')
    published.monitor.wait_until(lambda: not devices(daemon, sim), 'the daemon to have no device', seconds=5)
    if end != 'is killed':
        owner.let_go()
    sim.wait(A, 'held=0,group_open=0')
    assert time.monotonic() - before < scaled(2)
    assert stored(daemon) == daemon.empty
    assert sim.unbind(A)['ms'] < 1000


def test_asked_meanwhile(sim, daemon, published, owner):
    """Somebody unbinds the function while there is no daemon, but the service manager has its duplicate."""
    daemon.kill()
    unbind = sim.connect()
    unbind.send('unbind', A)
    assert owner.wait_count(owner.request, 1) == 1
    owner.let_go()
    assert sim.state(A)['leaving'] == 1
    daemon.start()
    assert unbind.receive()['ms'] < scaled(10000)
    unbind.close()
    published.wait_objects()
    assert (devices(daemon, sim), stored(daemon)) == ([], daemon.empty)


def test_another_function(sim, daemon, published, owner):
    """What is stored is of a function that has gone, and another is where it was."""
    daemon.kill()
    sim.vanish(A)
    sim.add(A, fid=FID + 1, path='both', **FAST)
    restart(daemon, published)
    published.wait_objects(FID + 1)
    assert published.state(FID + 1) == ('observed', 'policy')
    assert (devices(daemon, sim), stored(daemon)) == ([], daemon.empty)
    with pytest.raises(Refused, match='NoSuchFunction'):
        owner.detach(path(FID))


def test_another_bus(sim, bus, daemon, owner):
    """Nobody is on a bus that has just started, whoever has the name that the owner had."""
    daemon.kill()
    bus.stop()
    bus.start()
    names = [owner.join()]
    while names[-1] != owner.name and len(names) < 50:
        names.append(owner.join())
    assert names[-1] == owner.name
    daemon.start()
    owner.let_go()
    sim.wait(A, 'held=0,group_open=0')
    assert (devices(daemon, sim), stored(daemon)) == ([], daemon.empty)


def test_the_bus_ends(sim, bus, daemon, owner):
    """All callers have left it."""
    bus.stop()
    owner.let_go()
    sim.wait(A, 'held=0,group_open=0')
    assert (devices(daemon, sim), stored(daemon)) == ([], daemon.empty)
    bus.start()
