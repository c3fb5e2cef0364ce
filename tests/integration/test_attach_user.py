# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attach() for somebody who is not root: a user-space driver that runs as a user of its own."""
import grp

import pytest

from bystander import FAST
from open_files import devices
from owner import Owner, Refused
from polkit import Polkit
from published import path
from sim import Sim

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
FID = 0x10
DENIED = 'org.freedesktop.DBus.Error.AccessDenied'


@pytest.fixture
def sim(build):
    """For everybody."""
    with Sim(build, world=True) as sim:
        yield sim


@pytest.fixture
def polkit(bus):
    polkit = Polkit(bus)
    yield polkit
    polkit.close()


@pytest.fixture
def start(sim, bus):
    """start(USER) gives an owner who may call the daemon."""
    owners = []

    def start(user):
        owners.append(Owner(sim, bus, user=user, extra_groups=[grp.getgrnam('adm').gr_gid]))
        return owners[-1]
    yield start
    for owner in owners:
        owner.end()


@pytest.mark.parametrize('way', ['group', 'cdev'])
def test_a_user(sim, daemon, published, polkit, start, way):
    sim.add(A, fid=FID, path=way, **FAST)
    owner, other = start('nobody').take(sim, A, way), start('daemon')
    daemon.start()
    assert owner.refusal(Request=owner.request) == DENIED
    published.monitor.flush()  # the call is freed after it is answered
    assert devices(daemon, sim) == []

    polkit.allow('attach')
    assert owner.attach() == path(FID)
    polkit.allow()
    sim.error(A, pec=2)
    assert owner.wait_count(owner.notify, 1) == 1
    assert published.errors(1, FID)[0].details['Source'] == 'vfio'
    owner.reset_until_done(owner.device)

    # It is the caller's to end, and of those who may begin one.
    with pytest.raises(Refused, match=DENIED):
        other.detach(path(FID))
    assert published.state(FID) == ('delegated', '')
    owner.detach(path(FID))
    assert devices(daemon, sim) == []

    # It went while polkit was asked: there is nothing to come back to.
    polkit.allow('attach')
    polkit.hang(True)
    owner.begin_attach(Request=owner.request)
    polkit.wait_asked()
    owner.kill()
    polkit.release()
    polkit.hang(False)
    sim.wait(A, 'held=0,group_open=0')
    published.wait_state(FID, 'observed', 'policy')
    assert sim.unbind(A)['ms'] < 1000
    assert devices(daemon, sim) == []
