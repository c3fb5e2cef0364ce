# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures: the built daemon between a simulated kernel and real journald and D-Bus."""
import shlex
import subprocess

import pytest

import deadline
from bus import Bus
from errctl import Errctl
from hook import Hook
from monitor import Monitor
from published import Published
from service import Service
from sim import Sim


# /etc and /usr/lib that can be written to without anybody else's seeing it.
WRITABLE = '''
for folder in /etc /usr/lib; do
        mkdir -p /run/over$folder /run/work$folder
        mount -t overlay -o lowerdir=$folder,upperdir=/run/over$folder,workdir=/run/work$folder overlay $folder
done
[ -s /etc/machine-id ] || mount --bind /run/machine-id /etc/machine-id
'''

WRITE_CONFIG = 'mkdir -p /run/zpci-errord.conf.d; cat > /run/zpci-errord.conf.d/50-test.conf'


def pytest_addoption(parser):
    parser.addoption('--daemon-wrapper', default='', metavar='COMMAND',
                     help='run the daemon under this, for example "valgrind --error-exitcode=99"')
    parser.addoption('--storm-seconds', default=3, type=float, metavar='SECONDS', help='how long a storm takes')


def pytest_configure(config):
    if config.getoption('--daemon-wrapper'):
        deadline.slow_down(10)


@pytest.fixture(params=Bus.KINDS)
def bus(request, tmp_path, journald):
    """A system bus; every test that asks for it runs once on each implementation. A test of
    something else takes @pytest.mark.parametrize('bus', ['dbus-daemon'], indirect=True)."""
    bus = Bus(request.param, tmp_path, journald.namespace).start()
    yield bus
    bus.close()


@pytest.fixture
def sim(build):
    """No functions yet; see lib/sim.py."""
    with Sim(build) as sim:
        yield sim


@pytest.fixture
def monitor(bus):
    """A subscriber; made before the daemon's start it sees everything."""
    monitor = Monitor(bus.address)
    yield monitor
    monitor.close()


@pytest.fixture
def published(monitor, journald):
    """What the subscriber and the journal got, held against each other."""
    return Published(monitor, journald)


@pytest.fixture
def configure(namespace):
    """configure(TEXT) writes a drop-in of the daemon's configuration. As it is at first, a function is
    claimed at once, and recovered any number of times."""
    def write(text):
        subprocess.run(namespace.command('sh', '-euc', WRITE_CONFIG), input=text, text=True, check=True)
    write('[Errord]\nSettleSec=0\nRecoveryLimit=off\n')
    return write


@pytest.fixture
def write(namespace):
    """write(PATH, TEXT) for the namespace only; without TEXT, the file goes."""
    subprocess.run(namespace.command('sh', '-euc', WRITABLE), check=True)

    def write(path, text=None):
        command = 'rm "$0"' if text is None else 'mkdir -p "$(dirname "$0")"; cat > "$0"'
        subprocess.run(namespace.command('sh', '-euc', command, path), input=(text or '').encode(), check=True)
    return write


@pytest.fixture
def daemon(request, build, tmp_path, sim, journald, bus, configure):
    """The daemon, not started: daemon.start('--policy=claim'). At the end it has to stop cleanly,
    whatever a test did to it, and Valgrind has to be content."""
    wrapper = shlex.split(request.config.getoption('--daemon-wrapper'))
    environment = [f'{key}={value}' for key, value in {**bus.environment, **sim.env({})}.items()]
    daemon = Service(
        journald.namespace.command(
            'env', *environment, *wrapper, str(build / 'daemon' / 'zpci-errord')),
        tmp_path)
    yield daemon
    status = daemon.stop() if daemon.running() else None
    daemon.close()
    assert status in (None, 0), f'exit status {status}\n{daemon.stderr}'


@pytest.fixture
def wrapped(request):
    """Whether something slow, and of another size, is around the daemon."""
    return bool(request.config.getoption('--daemon-wrapper'))


@pytest.fixture
def errctl(request, build, bus):
    """The command line tool, on the same bus; under the daemon's wrapper too."""
    errctl = Errctl(build / 'ctl' / 'zpci-errctl', bus, shlex.split(request.config.getoption('--daemon-wrapper')))
    yield errctl
    errctl.close()


@pytest.fixture
def hook(build, bus):
    """libvirt's hook. Not under the daemon's wrapper: it has two seconds, whatever that makes slower."""
    return Hook(build / 'libvirt' / '50-zpci-errord', bus)
