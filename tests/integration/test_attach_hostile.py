# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is handed to Attach() as a device or an eventfd, and is none: a precise answer, nothing kept, nobody held up."""
import grp
import os

import pytest

import owner as owner_program
from bystander import FAST, FID as BYSTANDER, Bystander
from open_files import links
from owner import Owner
from published import path
from stuck_file import StuckFile
from user import run_as

pytestmark = pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)

A = '0001:00:00.0'
FID = 0x10
WRONG = 'org.freedesktop.DBus.Error.InvalidArgs'
NOBODY = 65534


@pytest.fixture
def owner(sim, bus):
    owner = Owner(sim, bus)
    yield owner
    owner.end()


@pytest.fixture
def stuck(tmp_path):
    file = StuckFile(tmp_path)
    yield file
    file.close()


@pytest.fixture
def check(sim, daemon, published):
    """check(refuse) before and after something was refused: the daemon has no more open than before, and serves
    others as before."""
    bystander = Bystander(sim, published)

    def check(refuse):
        bystander.check()
        published.monitor.flush()
        before = links(daemon.pid)
        refuse()
        published.monitor.flush()
        after = links(daemon.pid)
        assert {fd: after[fd] for fd in after.keys() - before} == {}
        bystander.check()
    return check


def start(daemon, configure):
    """Only the bystander is claimed."""
    configure('[Errord]\nSettleSec=0\nRecoveryLimit=off\n'
              f'[Function fid:{BYSTANDER:x}]\nPolicy=claim\n')
    daemon.start()


def test_no_device(sim, daemon, configure, published, owner, check, tmp_path):
    sim.add(A, fid=FID, path='both', **FAST)
    start(daemon, configure)
    published.wait_state(FID, 'observed', 'policy')
    request = owner.eventfd()
    group = owner.open_node(f'/dev/vfio/{sim.state(A)["group"]}')
    container = owner.open_container(group)
    device = owner.device_fd(group, A)
    file = tmp_path / 'anon_inode:[vfio-device]'
    file.write_text('')

    def named(name):
        link = tmp_path / name
        link.symlink_to('/dev/null')
        return owner.open_node(str(link))

    no_devices = {
        'a pipe': owner.open_pipe(),
        'a socket': owner.open_socket(),
        'a file': owner.open_node(str(file)),
        'a folder': owner.open_node('/', os.O_RDONLY | os.O_DIRECTORY),
        '/dev/null': owner.open_node('/dev/null'),
        '/dev/null by another name': named('vfio0'),
        'a memfd': owner.open_memfd('anon_inode:[vfio-device]'),
        'an eventfd': owner.eventfd(),
        'an epoll': owner.watch_nodes(str(tmp_path)),
        'a group': group,
        'a container': container,
        '/dev/iommu': owner.open_node('/dev/iommu'),
        'a name of a device': owner.open_node(f'/proc/self/fd/{device}', os.O_PATH),
        'a name of a node': owner.open_node('/dev/vfio/devices/' + sim.state(A)['vfio_name'], os.O_PATH),
        'a cdev that is not bound': owner.open_node('/dev/vfio/devices/' + sim.state(A)['vfio_name']),
    }

    def refuse():
        for name, fd in no_devices.items():
            assert (name, owner.refusal(fd, Request=request)) == (name, 'NotVfioDevice')
    check(refuse)
    assert published.state(FID) == ('observed', 'policy')

    no_eventfds = {
        'a pipe': no_devices['a pipe'],
        'a memfd': owner.open_memfd('anon_inode:[eventfd]'),
        'the device': device,
        'a name': owner.open_node(f'/proc/self/fd/{request}', os.O_PATH),
        'a timer': owner.open_timer(),
    }

    def refuse_eventfds():
        for name, fd in no_eventfds.items():
            assert (name, owner.refusal(device, Request=fd)) == (name, 'NotVfioDevice')
            assert (name, owner.refusal(device, Request=request, Notify=fd)) == (name, 'NotVfioDevice')
    check(refuse_eventfds)

    def refuse_options():
        for options in ({}, {'Notify': request}, {'Request': 'text'}, {'Request': request, 'Notify': 'text'},
                        {'Request': request, 'Unknown': request}, {'Request': request, 'Unknown': 'text'},
                        {'request': request}, {'Request': request, '': request}):
            assert (options, owner.refusal(device, **options)) == (options, WRONG)
    check(refuse_options)
    assert published.state(FID) == ('observed', 'policy')
    state = sim.state(A)
    assert (state['held'], state['err_armed'], state['resets']) == (1, 0, 0)


def test_no_function_of_ours(sim, daemon, configure, published, owner, check):
    """Devices that are open, of functions that are not to be attached."""
    functions = {
        'no zPCI function': ({'zpci': 0}, 'NotVfioDevice'),
        'nothing said of it': ({'caps': 'none'}, 'NotVfioDevice'),
        'capabilities in a circle': ({'caps': 'loop'}, 'NotVfioDevice'),
        'capabilities elsewhere': ({'caps': 'outside'}, 'NotVfioDevice'),
        'half a capability': ({'caps': 'short'}, 'NotVfioDevice'),
        'no handle': ({'base': 1}, 'NotVfioDevice'),
        'ignored': ({}, 'NoSuchFunction'),
        'another handle': ({}, 'NoSuchFunction'),
    }
    opened = {}
    for n, (name, (settings, _)) in enumerate(functions.items()):
        for way in 'group', 'cdev':
            address = f'{len(opened) + 1:04x}:00:00.0'
            sim.add(address, fid=0x100 + len(opened), path=way, **settings, **FAST)
            if name == 'ignored':
                sim.property(address, 'ZPCI_ERRORD_POLICY', 'ignore')
            if name == 'another handle':
                sim.sysfs(address, 'function_handle', '0x12345678')
            opened[name, way] = owner.take(sim, address, way).device
    start(daemon, configure)

    def refuse():
        for (name, way), device in opened.items():
            assert (name, way, owner.refusal(device, Request=owner.request)) == (name, way, functions[name][1])
    check(refuse)
    for address in sim.list():
        state = sim.state(address)
        assert state['err_armed'] == (state['fid'] == BYSTANDER), address


def test_nobody_answers(sim, daemon, configure, published, owner, stuck, check):
    """A server in user space that answers no question about its file: it is not asked."""
    sim.add(A, fid=FID, path='cdev', **FAST)
    start(daemon, configure)
    owner.take(sim, A, 'cdev')
    # The preload libraries would want to know what they open.
    ours = os.open(stuck.path, os.O_RDWR)
    file = owner.steal(os.getpid(), ours)
    os.close(ours)
    assert stuck.unanswered() == []

    def refuse():
        for _ in range(20):  # more than there are threads for what may block
            assert owner.refusal(file, Request=owner.request) == 'NotVfioDevice'
            assert owner.refusal(owner.device, Request=file) == 'NotVfioDevice'
            assert owner.refusal(owner.device, Request=owner.request, Notify=file) == 'NotVfioDevice'
    check(refuse)
    assert owner.attach() == path(FID)
    assert stuck.unanswered() == []


def test_nobody_reads(sim, daemon, configure, published, owner, check):
    """An owner that has its own eventfd full, so that whoever writes to it would wait."""
    sim.add(A, fid=FID, path='cdev', **FAST)
    start(daemon, configure)
    owner.take(sim, A, 'cdev')
    notify = owner.full_eventfd()
    owner.attach(Notify=notify)
    for count in 1, 2, 3:
        sim.error(A, pec=2)
        published.errors(count, FID)
        owner.reset_until_done(owner.device)
    check(lambda: None)
    owner.detach(path(FID))

    # Its own request: it asks for the end itself, with the first error.
    owner.attach(Notify=owner.request)
    sim.error(A, pec=2)
    published.wait_state(FID, 'observed', 'policy')
    published.errors(4, FID)
    check(lambda: None)


def test_somebody_else(sim, bus, daemon, configure, published, owner, check):
    """Who may read records may not attach, nor detach what others attached."""
    sim.add(A, fid=FID, path='cdev', **FAST)
    start(daemon, configure)
    owner.take(sim, A, 'cdev').attach()

    def visit():
        os.environ.update(bus.environment)
        owner_program.join()
        fd = os.eventfd(0)
        return [owner_program.attach(fd, {'Request': fd})['error'], owner_program.detach(path(FID))['error']]
    check(lambda: [
        pytest.fail(f'{answer}') for answer in run_as(NOBODY, NOBODY, [grp.getgrnam('adm').gr_gid], visit)
        if answer != 'org.freedesktop.DBus.Error.AccessDenied'])
    assert published.state(FID) == ('delegated', '')
    sim.error(A, pec=2)
    published.errors(1, FID)
