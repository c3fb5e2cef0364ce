# SPDX-License-Identifier: LGPL-2.1-or-later
"""The simulated VFIO device: opening, holding, errors, recovery, letting go. What a real kernel does is the measure."""
import errno
import os
import struct

import pytest

from client import DATA_BOOL, DATA_NONE, ERR, GET, PROBE, REQ, SET, TRIGGER
from sim import SimError

A = '0001:00:00.0'
FAST = {'open_ms': 0, 'reset_ms': 0, 'close_ms': 0}
RECORD = '00000000800200000000001000000000000000001234600200000000' + '00000002'


def fails(number):
    """The call in the block fails with this errno."""
    return pytest.raises(OSError, match=os.strerror(number))


@pytest.fixture(params=['group', 'cdev'])
def path(request):
    return request.param


@pytest.fixture
def device(sim, client, path):
    """An open device, its eventfds armed; open, reset and close take no time."""
    sim.add(A, path=path, **FAST)
    fd = open_device(client, path)
    client.err, client.req = client.eventfd(), client.eventfd()
    client.arm(fd, ERR, client.err)
    client.arm(fd, REQ, client.req)
    return fd


def open_device(client, path):
    client.others = client.open_group(A, 0) if path == 'group' else client.open_cdev('vfio0')
    return client.others.pop(0)


def test_identity(sim, client):
    sim.add(A, path='both', fid=0x10, pchid=0x104, fh=0x80020000)
    fd, *_ = client.open_cdev('vfio0')
    info = bytes.fromhex(client.info(fd))
    assert struct.unpack_from('IIIII', info) == (256, 0x83, 9, 5, 24)
    assert struct.unpack_from('HHIQQHHHBBII', info, 24)[5:] == (0x104, 0, 64, 0x0c, 1, 0x80020000, 32)
    assert [struct.unpack_from('HHI', info, offset) for offset in (24, 64, 112)] == [(1, 3, 64), (2, 2, 112), (4, 1, 0)]
    short = bytes.fromhex(client.info(fd, 20))
    assert struct.unpack('IIIII', short) == (128, 0x83, 9, 5, 0)
    with fails(errno.EINVAL):
        client.info(fd, 12)


@pytest.mark.parametrize('caps', ['loop', 'outside', 'short', 'none'])
def test_broken_capabilities(sim, client, caps):
    sim.add(A, path='cdev', caps=caps, **FAST)
    fd, *_ = client.open_cdev('vfio0')
    info = bytes.fromhex(client.info(fd))
    argsz, flags, _, _, offset = struct.unpack_from('IIIII', info)
    chain = struct.unpack_from('HHI', info, 24)
    assert (flags == 0x83) == (caps != 'none')
    assert (offset == 24) == (caps in ('loop', 'short'))
    assert (argsz < 24 + 40) == (caps == 'short')
    assert (chain[0] == 1) == (caps != 'none')
    assert (struct.unpack_from('I', info, 116)[0] == 24) == (caps == 'loop')


def test_plain_function_has_no_capabilities(sim, client):
    sim.add(A, path='cdev', zpci=0, **FAST)
    fd, *_ = client.open_cdev('vfio0')
    assert struct.unpack_from('IIIII', bytes.fromhex(client.info(fd)))[1::3] == (0x3, 0)


def test_open_takes_time_and_holds(sim, client, start, path):
    sim.add(A, path=path)
    open_device(client, path)
    assert client.ms >= 100
    other = start()
    with fails(errno.EBUSY if path == 'group' else errno.EINVAL):
        open_device(other, path)
    state = sim.state(A)
    assert (state['held'], state['open'], state['opens']) == (1, path, 1)
    client.kill()
    sim.wait(A, 'held=0,closes=1')
    sim.wait(A, 'closing=0')
    assert open_device(other, path) >= 0


def test_paths_exclude_each_other(sim, client, start):
    sim.add(A, path='both', **FAST)
    other = start()
    device, *_ = client.open_group(A, 0)
    with fails(errno.EBUSY):
        other.open_cdev('vfio0')
    client.kill()
    sim.wait(A, 'held=0')
    device, *_ = other.open_cdev('vfio0')
    third = start()
    with fails(errno.EBUSY):
        third.open_node('/dev/vfio/0', os.O_RDONLY)


def test_group_is_busy_while_only_the_device_is_open(sim, client, start):
    sim.add(A, **FAST)
    device, group, container = client.open_group(A, 0)
    client.close(group, container)
    with fails(errno.EBUSY):
        start().open_node('/dev/vfio/0')
    again = client.dup(device)
    client.close(device)
    with fails(errno.EBUSY):
        start().open_node('/dev/vfio/0')
    client.close(again)
    assert start().open_node('/dev/vfio/0') >= 0


def test_group_steps(sim, client):
    sim.add(A, **FAST)
    group = client.open_node('/dev/vfio/0')
    with fails(errno.EINVAL):
        client.device_fd(group, A)
    container = client.open_container(group)
    with fails(errno.ENODEV):
        client.device_fd(group, '0002:00:00.0')
    device = client.device_fd(group, A)
    client.reset(device)
    client.close(container, group)
    client.reset(device)


def test_unbound_cdev_answers_nothing(sim, client):
    sim.add(A, path='cdev', **FAST)
    fd = client.open_node('/dev/vfio/devices/vfio0')
    for call in (client.info, client.reset, client.get_record):
        with fails(errno.EINVAL):
            call(fd)


def test_error_is_queued_and_signalled(sim, client, device):
    assert sim.error(A, pec=2, fid=0x10, fh=0x80020000, faddr=0x12346002)['signalled'] == 1
    assert client.wait_readable(client.err) and client.read_count(client.err) == 1
    assert client.drain(device) == [RECORD]
    assert sim.error(A)['result'] == 'frozen'
    assert client.read_count(client.err) == 0
    client.reset_until_done(device)
    assert sim.error(A)['result'] == 'queued'
    assert sim.state(A)['read'] == 1


def test_fields(sim, client, device):
    sim.error(A, pec=0x3a, fid=0xabcdef01, fh=0x11223344, faddr=0x8877665544332211, ett=0xa, mvn=0x123, dmaas=0x45, q=1, rw=1)
    assert client.get_record(device) == '0000000011223344abcdef01a12345038877665544332211000000000000003a'
    raw = bytes(range(32)).hex()
    sim.error(A, raw=raw, force=1)
    assert client.get_record(device) == raw
    assert sim.error(A, stale=1)['result'] == 'stale'
    with pytest.raises(SimError, match='EINVAL'):
        sim.error(A, mvn=0x1000)


def test_overflow(sim, client, device):
    """Seven errors with a reset after each: the count of the eventfd says what the queue lost."""
    for i in range(7):
        assert sim.error(A, pec=i + 1)['result'] == ('queued' if i < 4 else 'dropped')
        client.reset_until_done(device)
    assert client.read_count(client.err) == 7
    assert [int(record[-4:], 16) for record in client.drain(device)] == [1, 2, 3, 4]
    assert sim.state(A)['dropped'] == 3


def test_reset_while_the_error_is_handled(sim, client, device):
    sim.set(A, eagain_ms=200)
    sim.error(A)
    with fails(errno.EAGAIN):
        client.reset(device)
    assert client.reset_until_done(device) > 5
    state = sim.state(A)
    assert (state['frozen'], state['resets'], state['pending']) == (0, 1, 1)
    sim.set(A, reset_ms=100)
    client.reset(device)
    assert client.ms >= 100


def test_open_while_the_error_is_handled(sim, client, path):
    sim.add(A, path=path, eagain_ms=300, **FAST)
    assert sim.error(A)['result'] == 'kernel'
    with fails(errno.EAGAIN):
        open_device(client, path)
    sim.wait(A, 'locked=0')
    assert sim.state(A)['again'] == 1


def test_close_too_early_leaves_it_frozen(sim, client, start, device, path):
    sim.set(A, eagain_ms=500)
    sim.error(A)
    client.close(device, *client.others)
    sim.wait(A, 'held=0')
    state = sim.state(A)
    assert (state['frozen'], state['close_resets_skipped'], state['pending']) == (1, 1, 0)
    assert sim.error(A)['result'] == 'frozen'
    sim.wait(A, 'locked=0')
    open_device(client, path)
    assert sim.state(A)['frozen'] == 0


def test_close_resets(sim, client, device):
    sim.set(A, eagain_ms=0, close_ms=100)
    sim.error(A)
    client.close(device)
    assert client.ms >= 100
    assert sim.state(A)['frozen'] == 0


@pytest.mark.parametrize('pec', [0x3b, 0x40])
def test_permanent(sim, client, device, pec):
    assert sim.error(A, pec=pec)['result'] == 'queued'
    assert client.read_count(client.err) == 1
    with fails(errno.EIO):
        client.reset_until_done(device)
    assert sim.state(A)['frozen'] == 1
    assert len(client.drain(device)) == 1


def test_measurement_event_is_only_logged(sim, client, device):
    assert sim.error(A, pec=0x2b)['result'] == 'logged'
    assert client.read_count(client.err) == 0 and client.drain(device) == []


def test_eventfds(sim, client, device):
    second = client.eventfd()
    client.arm(device, ERR, second)
    sim.error(A)
    assert (client.read_count(client.err), client.read_count(second)) == (0, 1)
    client.set_irqs(device, DATA_BOOL | TRIGGER, ERR, 1, '01')
    client.set_irqs(device, DATA_BOOL | TRIGGER, ERR, 1, '00')
    client.set_irqs(device, DATA_NONE | TRIGGER, ERR, 1)
    assert client.read_count(second) == 2
    assert len(client.drain(device)) == 1
    client.arm(device, ERR, -1)
    assert sim.state(A)['err_armed'] == 0
    client.arm(device, ERR, second)
    client.set_irqs(device, DATA_NONE | TRIGGER, ERR, 0)
    assert sim.error(A, force=1)['signalled'] == 0
    assert sim.signal(A, 'req', 3)['signalled'] == 1
    assert client.read_count(client.req) == 3
    with fails(errno.EBADF):
        client.arm(device, ERR, 999)
    with fails(errno.EINVAL):
        client.arm(device, ERR, 0)  # standard input is no eventfd
    for arguments in ((DATA_NONE | TRIGGER, ERR, 2), (DATA_NONE | TRIGGER, 0, 1), (DATA_NONE, ERR, 1), (DATA_BOOL | TRIGGER, ERR, 1)):
        with fails(errno.EINVAL):
            client.set_irqs(device, *arguments)


def test_no_error_interrupt(sim, client):
    sim.add(A, path='cdev', err_irq='none', **FAST)
    device, *_ = client.open_cdev('vfio0')
    with fails(errno.EINVAL):
        client.arm(device, ERR, client.eventfd())
    with fails(errno.EINVAL):
        client.irq_info(device, ERR)
    client.arm(device, REQ, client.eventfd())
    assert client.irq_info(device, REQ) == 1


def test_feature_checks(sim, client, device):
    assert client.feature(device, PROBE | GET | 13)
    for flags in (PROBE | SET | 13, SET | 13, GET | SET | 13, 13, GET | 13):  # the last: no buffer
        with fails(errno.EINVAL):
            client.feature(device, flags)
    with fails(errno.EINVAL):
        client.feature(device, GET | 13, 12)
    with fails(errno.ENOTTY):
        client.feature(device, GET | PROBE | 14)
    with fails(errno.ENOMSG):
        client.feature(device, GET | 13, 16, 4096)
    sim.error(A)
    with fails(errno.EFAULT):
        client.feature(device, GET | 13, 16, 4096)
    assert client.drain(device) == []


def test_v13(sim, client, device):
    for uapi in ('v13', 'v13-enomsg', 'v13-rev2'):
        sim.set(A, uapi=uapi)
        info = bytes.fromhex(client.info(device))
        assert struct.unpack_from('HH', info, 24) == (1, 2)
        size = 16 if uapi == 'v13-rev2' else 4
        version = 2 if uapi == 'v13-rev2' else 1
        for pec in (1, 0x3a):
            sim.error(A, pec=pec, force=1)
        with fails(errno.EINVAL):
            client.feature(device, GET | 13, 8 + size - 1)
        answers = [struct.unpack_from('BBH', bytes.fromhex(client.feature(device, GET | 13, 8 + size))) for _ in range(2)]
        assert answers == [(version, 1, 1), (version, 0, 0x3a)]
        if uapi == 'v13-enomsg':
            with fails(errno.ENOMSG):
                client.feature(device, GET | 13, 8 + size)
        else:
            assert struct.unpack_from('BBH', bytes.fromhex(client.feature(device, GET | 13, 8 + size)))[1:] == (0, 0)
    sim.set(A, uapi='none')
    with fails(errno.ENOTTY):
        client.feature(device, PROBE | GET | 13)
    sim.set(A, base=1)
    assert struct.unpack_from('HH', bytes.fromhex(client.info(device)), 24) == (1, 1)


@pytest.mark.parametrize('length', [0, 8, 64, 100000])
def test_record_length(sim, client, device, length):
    sim.set(A, errlen=length)
    sim.error(A)
    record = bytes.fromhex(client.get_record(device, length + 1))
    whole = bytes.fromhex(RECORD) + bytes(i % 256 for i in range(32, length))
    assert record == whole[:length] + b'\0'
    assert struct.unpack_from('I', bytes.fromhex(client.info(device)), 60)[0] == length


def test_failing_calls(sim, client, device, path):
    sim.error(A)
    sim.set(A, get_errno='EIO', reset_errno='ENODEV', open_errno='ENOMEM')
    with fails(errno.EIO):
        client.get_record(device)
    with fails(errno.ENODEV):
        client.reset(device)
    client.close(device, *client.others)
    sim.wait(A, 'held=0')
    with fails(errno.ENOMEM):
        open_device(client, path)


def test_slow_records(sim, client, device):
    sim.set(A, get_ms=50)
    sim.error(A)
    client.get_record(device)
    assert client.ms >= 50


def test_endless_records(sim, client, device):
    sim.set(A, endless=1)
    sim.error(A, pec=7)
    assert {client.get_record(device)[-4:] for _ in range(20)} == {'0007'}


def test_spurious_signals(sim, client, device):
    sim.signal(A, 'err', 1000)
    assert client.read_count(client.err) == 1000
    assert client.drain(device) == []


def test_unbind_asks_and_waits(sim, client, device, path):
    unbind = sim.connect()
    unbind.send('unbind', A)
    assert client.wait_readable(client.req)
    assert sim.state(A)['leaving'] == 1
    with fails(errno.ENOENT):
        client.open_node('/dev/vfio/0' if path == 'group' else '/dev/vfio/devices/vfio0')
    client.reset(device)
    client.close(device, *client.others)
    assert unbind.receive()['ms'] < 5000
    state = sim.state(A)
    assert (state['held'], state['driver'], state['closes']) == (0, '', 1)
    sim.bind(A)
    assert open_device(client, path) >= 0
    unbind.close()


def test_unbind_goes_on_without_who_asked(sim, client, device):
    unbind = sim.connect()
    unbind.send('unbind', A)
    assert client.wait_readable(client.req)
    unbind.close()
    client.kill()
    sim.wait(A, 'leaving=0')
    assert sim.state(A)['driver'] == ''


def test_remove(sim, client, device):
    remove = sim.connect()
    remove.send('remove', A)
    assert client.wait_readable(client.req)
    client.kill()
    remove.receive()
    remove.close()
    assert sim.list() == []


def test_vanish(sim, client, device):
    sim.vanish(A)
    for call in (client.info, client.reset, client.get_record):
        with fails(errno.ENODEV):
            call(device)
    sim.add(A, **FAST)
    with fails(errno.ENODEV):
        client.reset(device)
    client.close(device)
    assert sim.state(A)['closes'] == 0


def test_another_holder(sim, client, path):
    sim.add(A, path=path, **FAST)
    sim.hold(A)
    with fails(errno.EBUSY if path == 'group' else errno.EINVAL):
        open_device(client, path)
    assert sim.error(A)['result'] == 'queued'
    sim.unhold(A)
    sim.wait(A, 'locked=0')
    sim.hold(A, obeys=True)
    assert sim.unbind(A)['ms'] < 5000


def test_unbind_of_a_stubborn_holder(sim):
    sim.add(A, **FAST)
    sim.hold(A)
    unbind = sim.connect()
    unbind.send('unbind', A)
    sim.wait(A, 'leaving=1')
    sim.unhold(A)
    unbind.receive()
    unbind.close()


def pass_fd(client, other, fd, path):
    """Sends an fd of one client to the other; returns its number there."""
    other.send('receive_fd', str(path))
    while not path.exists():
        assert other._process.poll() is None
    client.send_fd(str(path), fd)
    return other.receive()


def test_any_fd(sim, client, start, device, tmp_path, path):
    """Duplicates, fds of another process, high numbers and inherited ones are the same device."""
    high = client.dup(device, 8000)
    assert high >= 8000
    client.reset(high)
    other = start()
    passed = pass_fd(client, other, high, tmp_path / 'socket')
    child = other.exec_holder(passed)
    client.kill()
    sim.error(A)
    assert other.drain(passed) == [RECORD]
    other.reset_until_done(passed)
    event = other.eventfd()
    other.arm(passed, ERR, event)
    assert sim.error(A)['signalled'] == 1 and other.read_count(event) == 1
    other.close(passed)
    assert sim.state(A)['held'] == 1
    other.stop(child)
    sim.wait(A, 'held=0')


def test_many_threads(sim, client):
    """64 devices, reset all at once: each takes 100 ms, all together hardly more."""
    sim.add_many(64, open_ms=0, close_ms=0)
    fds = []
    for i in range(64):
        fds.append(client.open_group(f'{i + 1:04x}:00:00.0', i)[0])
    assert client.reset_in_threads(fds) < 64 * 100 / 4
    assert all(sim.state(f'{i + 1:04x}:00:00.0')['resets'] == 1 for i in range(64))


def test_nodes_look_like_devices(sim, client):
    sim.add(A, path='both', group=7, **FAST)
    assert client.stat_mode('/dev/vfio/7') == client.stat_mode('/dev/vfio/devices/vfio0') == '0o20600'
    assert client.access('/dev/vfio/7') == [True, True]
    assert client.access('/dev/vfio/8') == [False, False]
    device, group, container = client.open_group(A, 7)
    assert client.fstat(group) == ['0o20600', 243, 7]
    assert client.fstat(container) == ['0o20600', 10, 196]
    assert client.fstat(device)[0] == '0o600'
    assert client.fd_name(device) == 'anon_inode:[vfio-device]'
    assert client.fd_name(group) == '/dev/vfio/7'
    client.close(device, group)
    cdev, _ = client.open_cdev('vfio0')
    assert client.fstat(cdev) == ['0o20600', 244, 0]
    assert client.fd_name(cdev) == '/dev/vfio/devices/vfio0'


def test_what_an_fd_is(sim, client, start, tmp_path):
    """An open device proves itself in any process, before the first ioctl: by its name, or by its number and sysfs."""
    sim.add('0002:00:00.0', path='cdev', **FAST)
    sim.add(A, path='both', **FAST)
    device, group, _ = client.open_group(A, 1)
    cdev, _ = client.open_cdev('vfio0')
    unbound = client.open_node('/dev/vfio/devices/vfio1')
    other, name = start(), 'anon_inode:[vfio-device]'

    for n, process in enumerate((client, other)):
        if n > 0:
            device, group, cdev, unbound = (pass_fd(client, other, fd, tmp_path / str(fd))
                                            for fd in (device, group, cdev, unbound))
        for fd in (device, process.dup(device, 100)):
            assert process.fd_names(fd) == [name] * 3
            assert process.statx(fd) == ['0o600', 0, 0]
        assert process.fd_name_cut(device, 10) == [10, name[:10] + '?' * 54]
        for fd, node, minor, address in ((cdev, 'vfio0', 0, '0002:00:00.0'), (unbound, 'vfio1', 1, A),
                                         (process.dup(cdev), 'vfio0', 0, '0002:00:00.0')):
            assert process.fd_names(fd) == [f'/dev/vfio/devices/{node}'] * 3
            assert process.statx(fd) == ['0o20600', 244, minor]
            assert process.link(f'/sys/dev/char/244:{minor}') == \
                f'../../devices/pci{address[:7]}/{address}/vfio-dev/{node}'
        assert process.statx(group) == ['0o20600', 243, 1]
        assert process.link('/sys/dev/char/243:1') == '../../devices/virtual/vfio/1'
        assert bytes.fromhex(process.info(cdev)) and bytes.fromhex(process.info(device))
        with fails(errno.EINVAL):
            process.info(unbound)

        # Who has no more than the name of it has no device.
        for fd in (device, cdev):
            path = process.open_node(f'/proc/self/fd/{fd}', os.O_PATH)
            assert process.fd_name(path) == process.fd_name(fd)
            with fails(errno.EBADF):
                process.info(path)
        path = process.open_node('/dev/vfio/devices/vfio1', os.O_PATH)
        assert process.statx(path) == ['0o20600', 244, 1]
        with fails(errno.EBADF):
            process.info(path)

        # What is none of ours stays as it is.
        event = process.eventfd()
        assert process.fd_names(event) == ['anon_inode:[eventfd]'] * 3
        assert process.statx(process.open_node('/dev/null')) == ['0o20666', 1, 3]

    # The numbers go with the binding.
    client.kill()
    other.kill()
    sim.unbind(A)
    with fails(errno.ENOENT):
        start().link('/sys/dev/char/244:1')


def test_who_watches_the_node(sim, client, start):
    """A busy open says nothing; the close of the last device fd does."""
    sim.add(A, **FAST)
    device, group, _ = client.open_group(A, 0)
    client.close(group)
    watcher = start()
    watch = watcher.watch_nodes('/dev/vfio/0')
    with fails(errno.EBUSY):
        start().open_node('/dev/vfio/0')
    assert watcher.watch_read(watch) == []
    client.close(device)
    assert watcher.wait_readable(watch)
    watcher.open_node('/dev/vfio/0')


def test_speed(sim, client, device):
    probe, read = client.time_ioctls(device, client.err, 5000)
    print(f'ioctl {probe:.1f} µs, read {read:.1f} µs')
    assert probe < 100
