# SPDX-License-Identifier: LGPL-2.1-or-later
"""The simulated host around its devices: sysfs, udev, the kernel log, hot-plug, and clients of every kind."""
import errno
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from sim import Sim, SimError
from user import run_as

A = '0001:00:00.0'
B = '0002:00:00.0'
FAST = {'open_ms': 0, 'reset_ms': 0, 'close_ms': 0}
RECORD = '0000000080020000000000100000000000000000123460020000000000000002'


def sysfs(sim, path):
    return Path(sim.directory + path)


def test_sysfs(sim):
    sim.add(A, fid=0x10, uid=1, pchid=0x104, vfn=2, pft=0x0b, path='both', group=3)
    device = sysfs(sim, f'/sys/bus/pci/devices/{A}')
    expected = {'function_id': '0x00000010', 'function_handle': '0x80020000', 'pchid': '0x0104', 'pfgid': '0x01', 'vfn': '0x0002',
                'pft': '0x0b', 'uid': '0x1', 'uid_is_unique': '1'}
    assert {name: (device / name).read_text().strip() for name in expected} == expected
    for link, target in {'driver': '/sys/bus/pci/drivers/vfio-pci', 'iommu_group': '/sys/kernel/iommu_groups/3',
                         'subsystem': '/sys/bus/pci'}.items():
        assert (device / link).resolve() == sysfs(sim, target)
    assert os.listdir(device / 'vfio-dev') == ['vfio0']
    assert (sysfs(sim, '/sys/kernel/iommu_groups/3/devices') / A / 'function_id').exists()
    assert sysfs(sim, '/sys/bus/pci/slots/00000010/address').read_text() == '0001:00:00\n'
    sim.unbind(A)
    assert not (device / 'driver').exists() and not (device / 'vfio-dev').exists()
    assert not sysfs(sim, '/dev/vfio/3').exists()
    sim.remove(A)
    assert not device.exists() and os.listdir(sysfs(sim, '/sys/kernel/iommu_groups')) == []


def test_nodes_follow_the_path(sim):
    sim.add(A, path='group')
    sim.add(B, path='cdev')
    assert sorted(os.listdir(sysfs(sim, '/dev/vfio'))) == ['0', 'devices', 'vfio']
    assert os.listdir(sysfs(sim, '/dev/vfio/devices')) == ['vfio1']
    # without its node, the device is in sysfs all the same
    assert sysfs(sim, '/sys/class/vfio-dev/vfio0').is_dir() and not sysfs(sim, '/sys/class/vfio-dev/vfio0/dev').exists()
    sim.mode('vfio/0', 0o640)
    assert sysfs(sim, '/dev/vfio/0').stat().st_mode & 0o777 == 0o640


def test_broken_attributes(sim, client):
    sim.add(A)
    sim.sysfs(A, 'pchid', '-')
    sim.sysfs(A, 'uid')
    sim.sysfs(A, 'pft', '@garbage')
    sim.sysfs(A, 'vfn', '@huge')
    sim.sysfs(A, 'function_id', 'not a number')
    device = sysfs(sim, f'/sys/bus/pci/devices/{A}')
    assert not (device / 'pchid').exists()
    assert (device / 'uid').read_bytes() == b''
    assert b'\xff\0' in (device / 'pft').read_bytes()
    assert (device / 'vfn').stat().st_size == 1 << 20
    assert client.udev_enumerate()[0]['fid'] == 'not a number'


def test_libudev_enumerates(sim, client):
    sim.add(A, fid=0x10)
    sim.add(B, driver='mlx5_core', zpci=0)
    sim.property(A, 'ZPCI_ERRORD_POLICY', 'claim')
    found = {device['name']: device for device in client.udev_enumerate()}
    assert (found[A]['driver'], found[A]['fid'], found[A]['ZPCI_ERRORD_POLICY']) == ('vfio-pci', '0x00000010', 'claim')
    assert (found[B]['driver'], found[B]['fid'], found[B]['ZPCI_ERRORD_POLICY']) == ('mlx5_core', None, None)
    assert [device['name'] for device in client.udev_enumerate('vfio-dev')] == ['vfio0']
    sim.property(A, 'ZPCI_ERRORD_POLICY')
    assert client.udev_enumerate()[0]['ZPCI_ERRORD_POLICY'] is None


def test_uevents_of_a_life(sim, client):
    monitor = client.udev_monitor()
    sim.add(A, path='cdev', driver='none')
    assert [(event['action'], event['driver']) for event in client.udev_receive(monitor)] == [('add', None)]
    sim.bind(A)
    events = client.udev_receive(monitor, 2)
    assert [(event['subsystem'], event['action'], event['driver']) for event in events] == [
        ('vfio-dev', 'add', None), ('pci', 'bind', 'vfio-pci')]
    assert events[0]['node'] == '/dev/vfio/devices/vfio0'

    sim.property(A, 'ZPCI_ERRORD_POLICY', 'claim')
    sim.error(A)
    begin, end = client.udev_receive(monitor, 2)
    assert (begin['ERROR_EVENT'], begin['DEVICE_ONLINE'], begin['DRIVER'], begin['PCI_SLOT_NAME']) == (
        'BEGIN_RECOVERY', '0', 'vfio-pci', A)
    assert (end['ERROR_EVENT'], end['action'], end['ZPCI_ERRORD_POLICY']) == ('SUCCESSFUL_RECOVERY', 'change', 'claim')
    sim.set(A, recovery='failed')
    sim.error(A)
    assert [event['ERROR_EVENT'] for event in client.udev_receive(monitor, 2)] == ['BEGIN_RECOVERY', 'FAILED_RECOVERY']

    sim.wait(A, 'locked=0')
    sim.hold(A)
    sim.error(A, pec=0x3b, force=1)  # no event
    sim.unhold(A)
    sim.remove(A)
    assert [(event['subsystem'], event['action']) for event in client.udev_receive(monitor, 3)] == [
        ('vfio-dev', 'remove'), ('pci', 'unbind'), ('pci', 'remove')]


def test_held_function_sends_one_event(sim, client):
    sim.add(A, **FAST)
    sim.hold(A)
    monitor = client.udev_monitor()
    sim.error(A)
    sim.error(A, pec=0x40, force=1)
    sim.uevent(A, 'change', MARK=1)
    first, second = client.udev_receive(monitor, 2)
    assert (first['ERROR_EVENT'], second['ERROR_EVENT']) == ('BEGIN_RECOVERY', None)


def test_two_monitors_with_equal_numbers(sim, start):
    """And a third whose process is gone."""
    clients = [start() for _ in range(3)]
    monitors = [client.udev_monitor() for client in clients]
    assert len(set(monitors)) == 1
    clients[2].kill()
    sim.add(A)
    for client in clients[:2]:
        assert [event['action'] for event in client.udev_receive(monitors[0], 2)] == ['add', 'add']


def test_burst_for_a_slow_monitor(sim, client):
    sim.add(A)
    monitor = client.udev_monitor()
    for _ in range(2000):
        sim.uevent(A)
    assert len(client.udev_receive(monitor, 2000)) == 2000


def test_monitor_overrun(sim, client):
    monitor = client.udev_monitor()
    sim.monitor_overrun()
    with pytest.raises(OSError, match=os.strerror(errno.ENOBUFS)):
        client.udev_receive(monitor)
    sim.add(A)
    assert client.udev_receive(monitor)[0]['action'] == 'add'


def test_512_functions(sim, client):
    monitor = client.udev_monitor()
    start = time.monotonic()
    sim.add_many(512, open_ms=0)
    took = time.monotonic() - start
    assert len(sim.list()) == 512
    assert len(client.udev_enumerate()) == 512
    assert len(client.udev_receive(monitor, 3 * 512)) == 3 * 512
    print(f'512 functions in {took:.2f} s')
    assert took < 10  # 0.6 s on an idle machine
    with pytest.raises(SimError, match='ENODEV'):
        sim.state('ffff:00:00.0')


def records(text):
    return [re.fullmatch(r'(\d+),(\d+),(\d+),-;(.*)\n', line).groups() for line in text]


def test_kernel_log(sim, client):
    sim.add(A, **FAST)
    log = client.open_node('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK)
    assert client.wait_readable(log)
    assert 'zpci: simulated' in client.kmsg_read(log)
    with pytest.raises(BlockingIOError):
        client.kmsg_read(log)

    sim.error(A, pec=2, fid=0x10)
    sim.wait(A, 'locked=0')
    sim.hold(A)
    sim.error(A, pec=0x2a)
    for _ in range(5):
        sim.error(A, force=1)
    client.kmsg_seek(log, os.SEEK_DATA)
    lines = records([client.kmsg_read(log) for _ in range(14)])
    error = f'zpci: {A}: Event 0x2 reports an error for PCI function 0x10'
    assert [line[3] for line in lines[1:5]] == [
        error, error.replace('0x2 ', '0x2a '), error, f'zpci: {A}: Leaving recovery of pass-through device to user-space']
    assert {line[0] for line in lines if 'Event' in line[3]} == {'3'}
    assert 'Maximum number (4)' in lines[-2][3]
    sequence = [int(line[1]) for line in lines]
    assert sequence == list(range(sequence[0], sequence[0] + 14))
    assert abs(int(lines[-1][2]) / 1e6 - time.monotonic()) < 60


def test_kernel_log_seek_and_overrun(sim, client):
    log = client.open_node('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK)
    for i in range(3000):
        sim.kmsg(6, f'line {i}')
    client.kmsg_seek(log, os.SEEK_END)
    with pytest.raises(BlockingIOError):
        client.kmsg_read(log)
    sim.kmsg(11, f'zpci: {A}: Event 0x2  forged\tby a user')
    assert client.wait_readable(log)
    priority, _, _, text = records([client.kmsg_read(log)])[0]
    assert (priority, text) == ('11', f'zpci: {A}: Event 0x2  forged\\x09by a user')

    client.kmsg_seek(log, os.SEEK_SET)
    assert 'zpci: simulated' in client.kmsg_read(log)
    assert records([client.kmsg_read(log) for _ in range(3000)])[-1][3] == 'line 2999'
    client.kmsg_seek(log, os.SEEK_END)
    sim.kmsg_overrun()
    assert client.wait_readable(log)
    with pytest.raises(OSError, match=os.strerror(errno.EPIPE)):
        client.kmsg_read(log)
    sim.kmsg(6, 'after')
    assert client.wait_readable(log) and 'after' in client.kmsg_read(log)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        client.kmsg_seek(log, os.SEEK_CUR)


def test_kernel_log_overrun_of_its_own(sim, client):
    """A reader that does not read loses the oldest lines."""
    log = client.open_node('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK)
    connection = sim.connect()
    for i in range(9500):
        connection.send('kmsg', 6, f'line {i}')
        connection.receive()
    connection.close()
    seen, lost = [], 0
    while not seen or seen[-1] != 'line 9499':
        assert client.wait_readable(log)
        try:
            seen.append(records([client.kmsg_read(log)])[0][3])
        except BrokenPipeError:
            lost += 1
    assert lost >= 1 and len(seen) < 9500


def test_no_kernel_log(build):
    with Sim(build, kmsg=False) as sim:
        answer = subprocess.run(['dd', 'if=/dev/kmsg', 'of=/dev/null'], env=sim.env(), capture_output=True, text=True)
        assert 'No such file' in answer.stderr


def test_commands(sim, build):
    def send(*commands):
        program = build / 'tests' / 'sim' / 'zpci-sim'
        return subprocess.run([program, f'--send={sim.directory}', *commands], capture_output=True, text=True)
    assert send('add 1:0:0.0 fid=0x77', f'state {A}').stdout.startswith('ok address=0001:00:00.0\nok {"address"')
    for command, code in {'nonsense': 'EOPNOTSUPP', 'add': 'EINVAL', 'add x': 'EINVAL', f'add {A}': 'EEXIST',
                          f'set {A} nonsense=1': 'EINVAL', f'set {A} path=nowhere': 'EINVAL', 'unbind 9999:00:00.0': 'ENODEV',
                          f'wait {A} nonsense=1 5': 'ENOENT', f'error {A} raw=00': 'EINVAL', f'hold {A} {"x " * 2000}': None}.items():
        answer = send(command)
        assert answer.returncode == (1 if code else 0)
        assert answer.stdout.startswith(f'error {code}' if code else 'ok')
    assert 'kmsg PRIORITY TEXT' in send('help').stdout


def test_wait_tells_what_it_waited_for(sim):
    sim.add(A)
    with pytest.raises(SimError, match=r'waited for held=1,pending>=2 of \{"address"'):
        sim.wait(A, 'held=1,pending>=2', timeout=0.05)


def test_it_cleans_up(build, tmp_path):
    with Sim(build, directory=tmp_path / 'testbed') as sim:
        sim.add_many(3)
        assert (tmp_path / 'testbed' / 'sys').is_dir()
    assert not (tmp_path / 'testbed').exists()


def run_client(sim, command, **popen):
    """Runs a client that opens the device, waits for an error, drains and resets; returns what it printed."""
    client = subprocess.Popen([*map(str, command), A, '0'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)
    sim.wait(A, 'err_armed=1', timeout=60)
    sim.error(A, fid=0x10, fh=0x80020000)
    out, err = client.communicate(timeout=60)
    assert (client.returncode, err) == (0, '')
    state = sim.wait(A, 'held=0')
    assert (state['resets'], state['closes'], state['frozen']) == (1, 1, 0)
    return out.split()


def test_compiled_client(sim, build):
    sim.add(A, **FAST)
    assert run_client(sim, [build / 'tests' / 'sim' / 'sim-client'], env=sim.env()) == [RECORD]


def test_valgrind(sim, build):
    sim.add(A, **FAST)
    command = ['valgrind', '-q', '--leak-check=full', '--error-exitcode=9', build / 'tests' / 'sim' / 'sim-client']
    assert run_client(sim, command, env=sim.env()) == [RECORD]


@pytest.mark.parametrize('compiler', ['gcc', 'clang'])
def test_sanitizers(sim, tmp_path, compiler):
    program = tmp_path / 'client'
    subprocess.run([compiler, '-g', '-O1', '-D_GNU_SOURCE', '-fsanitize=address,undefined', '-o', program,
                    Path(__file__).parent / 'sim-client.c'], check=True)
    library = None
    if compiler == 'gcc':
        library = subprocess.run(['gcc', '-print-file-name=libasan.so'], capture_output=True, text=True, check=True).stdout.strip()
    sim.add(A, **FAST)
    assert run_client(sim, [program], env=sim.env(sanitizer=library)) == [RECORD]


def test_another_user(build, tmp_path):
    """An ordinary user, in a read-only file system but for the testbed."""
    with Sim(build, world=True) as sim:
        sim.add(A, **FAST)
        command = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs', build / 'tests' / 'sim' / 'sim-client']
        assert run_client(sim, command, env=sim.env()) == [RECORD]
        sim.mode('vfio/0', 0o600)

        def refused():
            answer = subprocess.run(['dd', 'if=/dev/vfio/0', 'of=/dev/null'], env=sim.env(), capture_output=True, text=True)
            return answer.stderr
        assert 'Permission denied' in run_as(65534, 65534, [], refused)
