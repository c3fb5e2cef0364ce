# SPDX-License-Identifier: LGPL-2.1-or-later
"""The owner of an open VFIO device has the daemon drain it: Attach() and Detach()."""
import contextlib
import os
import time

import dbus
import pytest

from bystander import FAST
from client import ERR
from deadline import Deadline, scaled
from monitor import MANAGER
from open_files import devices
from owner import Owner, Refused
from published import FUNCTION, MANAGER_INTERFACE, path

on_one_bus = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)
on_both_ways = pytest.mark.parametrize('way', ['group', 'cdev'])

A = '0001:00:00.0'
FID = 0x10
UAPIS = {'ccdf': 'ccdf', 'v13': 'packed', 'v13-enomsg': 'packed', 'v13-rev2': 'packed'}


@pytest.fixture
def start(sim, bus):
    """start() gives one more owner."""
    owners = []

    def start():
        owners.append(Owner(sim, bus))
        return owners[-1]
    yield start
    for owner in owners:
        owner.end()


@pytest.fixture
def owner(start):
    return start()


@pytest.fixture
def attached(sim, daemon, published, owner):
    """attached(WAY) is an owner of A that attached it to a daemon that would only observe it."""
    def attached(way='cdev', policy='observe'):
        sim.add(A, fid=FID, path=way, **FAST)
        owner.take(sim, A, way)
        daemon.start(f'--policy={policy}')
        assert owner.attach() == path(FID)
        assert published.state(FID) == ('delegated', '')
        return owner
    return attached


def call(published, method, signature='', *args):
    return published.monitor.call(path(FID), FUNCTION, method, signature, *args)


@contextlib.contextmanager
def inhibited(published, *addresses):
    def call(method, *args):
        return published.monitor.call(MANAGER, MANAGER_INTERFACE, method, *args)
    fd = call('Inhibit', 'asss', addresses, 'a test', 'because').take()
    yield
    os.close(fd)
    deadline = Deadline(10, 'the end of the inhibitor')
    while call('ListInhibitors'):
        deadline.left()


def test_life(sim, daemon, published, start):
    """On both ways and with each interface: what was queued, what comes, how it ends. Nothing is reset."""
    functions = [(f'{n + 1:04x}:00:00.0', 0x10 + n, way, uapi)
                 for n, (way, uapi) in enumerate((way, uapi) for way in ('group', 'cdev') for uapi in UAPIS)]
    owners = {}
    for address, fid, way, uapi in functions:
        sim.add(address, fid=fid, path=way, uapi=uapi, **FAST)
        owners[fid] = start().take(sim, address, way)
        assert sim.error(address, pec=2)['result'] == 'queued'
    daemon.start()

    for n, (address, fid, way, uapi) in enumerate(functions):
        owner = owners[fid]
        assert published.state(fid) == ('observed', 'policy')
        assert owner.attach() == path(fid)
        assert published.state(fid) == ('delegated', '')
        assert published.get(fid, 'ErrorInterface') == UAPIS[uapi]
        assert owner.wait_count(owner.notify, 1) == 1
        assert published.errors(1, fid)[0].pec == 2
        owner.reset_until_done(owner.device)

        # One Notify for each time that records were taken, also for two at once.
        assert sim.error(address, pec=5)['signalled'] == 1
        assert owner.wait_count(owner.notify, 1) == 1
        owner.reset_until_done(owner.device)
        daemon.freeze()
        for pec in 3, 0x3a:
            sim.error(address, pec=pec)
            owner.reset_until_done(owner.device)
        daemon.thaw()
        errors = published.errors(4, fid)
        assert [(error.pec, error.details['Source']) for error in errors] == [(pec, 'vfio') for pec in (2, 5, 3, 0x3a)]
        assert owner.wait_count(owner.notify, 1) == 1
        published.wait_property(fid, 'Recovery', 'left-to-holder')

        # An empty wake-up is none.
        sim.signal(address, 'err')
        published.monitor.flush()
        assert owner.read_count(owner.notify) == 0
        assert owner.read_count(owner.request) == 0

        # What is queued when it ends is published before.
        daemon.freeze()
        sim.error(address, pec=7)
        owner.begin_detach(path(fid))
        daemon.thaw()
        owner.answer()
        assert devices(daemon, sim) == []
        assert published.state(fid) == ('observed', 'policy')
        assert owner.read_count(owner.notify) == 1
        assert published.errors(5, fid)[-1].pec == 7

        # The error eventfd is the owner's again, and so are the records.
        owner.reset_until_done(owner.device)
        err = owner.eventfd()
        owner.arm(owner.device, ERR, err)
        sim.error(address, pec=8)
        assert owner.wait_count(err, 1) == 1
        state = sim.state(address)
        assert (state['pending'], state['held'], state['resets'], state['opens']) == (1, 1, 5, 1)

    for _, fid, _, _ in functions:
        assert published.errors(6, fid)[-1].details['Source'] == 'kmsg'
        assert owners[fid].read_count(owners[fid].notify) == 0
    assert devices(daemon, sim) == []
    assert published.get(0x10, 'Lost') == 0 and published.all_lost() == []


@on_one_bus
@on_both_ways
def test_request(sim, daemon, published, attached, way):
    """Who unbinds the function has it within a second, and what was queued is published."""
    owner = attached(way)
    owner.begin_to_obey()
    assert sim.unbind(A)['ms'] < 1000
    owner.receive()
    published.wait_objects()

    # The owner was quicker: it has read its eventfd before the daemon looks.
    sim.bind(A)
    published.wait_objects(FID)
    owner.take(sim, A, way).attach()
    daemon.freeze()
    sim.error(A, pec=3)
    unbind = sim.connect()
    unbind.send('unbind', A)
    assert owner.wait_count(owner.request, 1) == 1
    owner.let_go()
    daemon.thaw()
    assert unbind.receive()['ms'] < 1000
    assert [(error.pec, error.details['Source']) for error in published.errors(1, FID)] == [(3, 'vfio')]

    # The owner does not obey: the daemon does.
    sim.bind(A)
    published.wait_objects(FID)
    owner.take(sim, A, way).attach()
    owner.freeze()
    unbind.send('unbind', A)
    published.wait_objects()
    assert (devices(daemon, sim), sim.state(A)['held']) == ([], 1)
    owner.kill()
    assert unbind.receive()['ms'] < scaled(5000)
    unbind.close()


@on_one_bus
def test_request_alone(sim, daemon, published, attached):
    """The eventfd is obeyed, and never read; one that is signalled already ends it at once."""
    owner = attached()
    sim.signal(A, 'req', 3)
    published.wait_state(FID, 'observed', 'policy')
    assert devices(daemon, sim) == []
    assert owner.read_count(owner.request) == 3
    assert owner.attach() == path(FID)
    assert published.state(FID) == ('delegated', '')
    owner.detach(path(FID))

    sim.signal(A, 'req')
    try:
        owner.attach()
    except Refused as refused:
        assert refused.name == 'NotBound'
    published.wait_state(FID, 'observed', 'policy')
    assert devices(daemon, sim) == []
    assert owner.read_count(owner.request) == 1
    assert sim.state(A)['resets'] == 0


@on_one_bus
@on_both_ways
@pytest.mark.parametrize('end', ['leaves', 'is killed', 'is killed frozen'])
def test_the_owner_is_gone(sim, daemon, published, attached, way, end):
    """Its device is not kept open, whatever became of it; what was queued is published."""
    owner = attached(way)
    daemon.freeze()
    sim.error(A, pec=2)
    if end == 'leaves':
        owner.leave()
    else:
        if end == 'is killed frozen':
            owner.freeze()
        owner.kill()
    before = time.monotonic()
    daemon.thaw()
    if end == 'leaves':
        published.wait_state(FID, 'observed', 'policy')
        assert (devices(daemon, sim), sim.state(A)['held']) == ([], 1)
        owner.reset_until_done(owner.device)
        owner.let_go()
    sim.wait(A, 'held=0,group_open=0')
    assert time.monotonic() - before < scaled(1)
    published.wait_state(FID, 'observed', 'policy')
    assert devices(daemon, sim) == []
    assert [(error.pec, error.details['Source']) for error in published.errors(1, FID)] == [(2, 'vfio')]
    assert sim.unbind(A)['ms'] < 1000


@on_one_bus
def test_gone_before_the_answer(sim, daemon, published, start):
    owner = start()
    sim.add(A, fid=FID, path='cdev', **FAST)
    daemon.start()
    owner.take(sim, A, 'cdev')
    owner.attach()
    owner.detach(path(FID))
    published.monitor.flush()
    owner.attach_and_leave(owner.device, owner.request, 50)
    published.monitor.wait_until(lambda: not devices(daemon, sim), 'the daemon to have no device', seconds=5)
    published.wait_state(FID, 'observed', 'policy')
    assert owner.attach() == path(FID)


@on_one_bus
def test_taken_away(sim, daemon, published, attached):
    """By Release() and Inhibit(), which answer when it is closed; and an inhibitor keeps it from coming back."""
    owner = attached()
    call(published, 'Release', 'ta{sv}', 0, {})
    assert devices(daemon, sim) == []
    assert published.state(FID)[0] == 'observed'
    assert owner.attach() == path(FID)

    with inhibited(published, A):
        assert devices(daemon, sim) == []
        assert published.state(FID)[0] == 'observed'
        assert owner.refusal(Request=owner.request) == 'Inhibited'
    assert owner.attach() == path(FID)

    # With the function, by a surprise.
    sim.vanish(A)
    published.wait_objects()
    assert devices(daemon, sim) == []
    with pytest.raises(Refused, match='NoSuchFunction'):
        owner.detach(path(FID))


@on_one_bus
def test_refused(sim, daemon, published, attached, start):
    owner = attached()
    assert owner.refusal(Request=owner.request) == 'AlreadyAttached'
    assert published.state(FID) == ('delegated', '')
    with pytest.raises(dbus.DBusException) as error:
        call(published, 'Reset')
    assert error.value.get_dbus_name() == 'org.zpci.Errord1.Error.NotSupported'
    with pytest.raises(dbus.DBusException) as error:
        call(published, 'Claim')
    assert error.value.get_dbus_name() == 'org.zpci.Errord1.Error.Busy'
    assert published.state(FID) == ('delegated', '')

    owner.detach(path(FID))
    for wrong in path(FID), path(0x77), '/', MANAGER:
        with pytest.raises(Refused, match='NoSuchFunction'):
            owner.detach(wrong)

    # What the daemon holds is not to be had twice.
    owner.let_go()
    published.monitor.call(path(FID), FUNCTION, 'Claim')
    fd, = devices(daemon, sim)
    other = start()
    stolen = other.steal(daemon.pid, fd)
    assert other.refusal(stolen, Request=other.eventfd()) == 'Busy'
    other.close(stolen)
    assert published.state(FID) == ('claimed', '')
    sim.wait(A, 'err_armed=1,req_armed=1')

    for number, settings in enumerate(({'uapi': 'none'}, {'err_irq': 'none'}), 1):
        address = f'000{number + 1}:00:00.0'
        sim.add(address, fid=FID + number, path='cdev', **settings, **FAST)
        published.wait_state(FID + number, 'observed', 'policy')
        third = start().take(sim, address, 'cdev')
        assert third.refusal(third.device, Request=third.request) == 'NotSupported'
        assert published.state(FID + number) == ('observed', 'policy')


@on_one_bus
def test_handover(sim, daemon, published, attached):
    """Between an owner that comes and goes, and a daemon that claims."""
    owner = attached('both', policy='claim')
    published.monitor.flush()
    owner.detach(path(FID))
    assert published.state(FID)[0] == 'observed'
    owner.attach()
    owner.kill()
    sim.wait(A, 'held=1,err_armed=1,req_armed=1', timeout=20)
    published.wait_state(FID, 'claimed', seconds=20)
    sim.error(A, pec=2)
    published.monitor.wait('RecoveryChanged', where=lambda s: s.args[2] == 'recovered')


@on_one_bus
def test_another_handle(sim, daemon, published, owner):
    """The function was disabled and enabled since the daemon last looked, of which nothing tells."""
    sim.add(A, fid=FID, fh=0x80020001, path='cdev', **FAST)
    sim.sysfs(A, 'function_handle', '0x80020000')
    daemon.start()
    assert published.get(FID, 'FunctionHandle') == 0x80020000
    sim.sysfs(A, 'function_handle', '0x80020001')
    assert owner.take(sim, A, 'cdev').attach() == path(FID)
    assert published.get(FID, 'FunctionHandle') == 0x80020001


@on_one_bus
def test_stop(sim, daemon, published, attached):
    """SIGTERM: what is queued is published, the owner keeps its device, and it is not reset."""
    owner = attached('group')
    daemon.freeze()
    sim.error(A, pec=4)
    daemon.process.terminate()
    daemon.thaw()
    assert daemon.wait_exit() == 0
    signal, = published.monitor.wait('ErrorReported')
    assert (signal.args[2], signal.args[7]['Source']) == (4, 'vfio')
    state = sim.state(A)
    assert (state['held'], state['resets'], state['frozen']) == (1, 0, 1)
    assert owner.read_count(owner.notify) == 1
    daemon.notify.forget()
    owner.let_go()
    sim.wait(A, 'held=0')
