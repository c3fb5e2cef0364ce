# SPDX-License-Identifier: LGPL-2.1-or-later
"""The system bus is not there, hangs, goes away or refuses us: records go to the journal meanwhile, and to the
bus as soon as that works, by itself."""
import subprocess
import sys

from bystander import FAST, TO_JOURNAL, Bystander, told
from monitor import MANAGER, Monitor
from published import MANAGER_INTERFACE, MESSAGE_IDS, Published

A = '0001:00:00.0'
ERROR = 'MESSAGE_ID=' + MESSAGE_IDS['ERROR']


def claim(daemon, *arguments):
    return daemon.start('--policy=claim', *arguments, **TO_JOURNAL)


def report(sim, address, count, pec=2):
    """`count` errors, each drained and recovered from."""
    for _ in range(count):
        before = sim.wait(address, 'held=1,err_armed=1,frozen=0,locked=0')['resets']
        sim.error(address, pec=pec)
        sim.wait(address, f'pending=0,frozen=0,resets={before + 1}')


def check_gapless(journald, published, count):
    """The journal has errors 1 to `count`, and so does who asks for them."""
    entries = journald.wait(ERROR, count=count)
    assert [int(entry['ZPCI_SEQUENCE']) for entry in entries] == list(range(1, count + 1))
    _, oldest, last, errors = published.records()
    assert (oldest, last) == (1, count)
    assert [error.sequence for error in errors] == list(range(1, count + 1))


def test_no_bus_at_start(sim, daemon, journald, bus):
    """It starts all the same; the bus gets everything once it is there."""
    bus.stop()
    sim.add(A, fid=0x10, **FAST)
    claim(daemon)
    told(journald, 'Cannot connect to the system bus, is dbus.service running?; error records go to the journal, '
                   'and to the bus as soon as that works')
    report(sim, A, 5)
    journald.wait(ERROR, count=5)

    bus.start()
    monitor = Monitor(bus.address)
    try:
        monitor.wait_owner(seconds=20)
        published = Published(monitor, journald)
        published.wait_objects(0x10)
        assert published.state(0x10) == ('claimed', '')
        told(journald, 'The system bus works again')
        check_gapless(journald, published, 5)
        report(sim, A, 1)
        monitor.wait('ErrorReported', where=lambda s: s.args[5] == 6)
    finally:
        monitor.close()


def test_bus_killed(sim, daemon, journald, bus):
    sim.add(A, fid=0x10, **FAST)
    claim(daemon)
    report(sim, A, 2)
    first = Monitor(bus.address)
    first.close()
    bus.stop()
    told(journald, 'The system bus closed the connection')
    report(sim, A, 3)
    journald.wait(ERROR, count=5)

    bus.start()
    second = Monitor(bus.address)
    try:
        second.wait_owner()
        published = Published(second, journald)
        published.wait_objects(0x10)
        check_gapless(journald, published, 5)
        report(sim, A, 1)
        second.wait('ErrorReported', where=lambda s: s.args[5] == 6)
    finally:
        second.close()


def test_bus_hangs_at_start(sim, daemon, journald, bus, published):
    """It waits for the bus some seconds, since a function should not be touched by two daemons; not for ever."""
    sim.add(A, fid=0x10, **FAST)
    bus.freeze()
    claim(daemon)
    told(journald, 'The system bus does not answer')
    report(sim, A, 2)
    journald.wait(ERROR, count=2)
    bus.thaw()
    published.monitor.wait_owner()
    # Nobody had the name before: what came in the meantime is signalled now.
    assert [error.sequence for error in published.errors(2)] == [1, 2]
    told(journald, 'The system bus works again')
    published.wait_objects(0x10)


def test_bus_hangs(sim, daemon, journald, bus, published):
    bystander = Bystander(sim, published)
    claim(daemon)
    bystander.check()
    bus.freeze()
    report(sim, 'fffe:00:00.0', 20)
    journald.wait(ERROR, count=21)
    assert sim.unbind('fffe:00:00.0')['ms'] < 1000
    bus.thaw()
    assert [error.sequence for error in published.errors(21)] == list(range(1, 22))
    published.wait_objects()


def flood(sim, count):
    """`count` records and some, without a recovery in between; returns how many."""
    sim.set(A, endless=1)
    sim.error(A, pec=2, force=1)
    sim.wait(A, f'read>={count}')
    sim.set(A, endless=0)
    # Behind all of them one more. (That it is drained is a sign that these are.)
    sim.error(A, pec=3, force=1)
    return sim.wait(A, 'pending=0')['read']


def wait_last(monitor, count):
    """Waits for the last error, without looking at all that came before each time."""
    monitor.wait_until(lambda: monitor.signals and monitor.signals[-1].member == 'ErrorReported'
                       and monitor.signals[-1].args[5] == count, f'error {count}', 30)


def test_crash_while_the_bus_hangs(sim, daemon, journald, bus, monitor, configure):
    """The signals that sd-bus keeps for a bus that takes none die with the daemon: the next run emits them.
    None is missing, and those that come twice are the same."""
    configure('[Errord]\nSettleSec=0\nRecovery=none\nRecords=8192\n')
    sim.add(A, fid=0x10, **FAST)
    claim(daemon)
    sim.wait(A, 'err_armed=1')
    bus.freeze()
    count = flood(sim, 4000)
    journald.wait(ERROR, count=count)
    daemon.kill()
    bus.thaw()
    claim(daemon)
    wait_last(monitor, count)
    seen = {}
    for signal in monitor.named('ErrorReported'):
        assert seen.setdefault(signal.args[5], signal.args) == signal.args
    assert sorted(seen) == list(range(1, count + 1))


NEVER_READS = """
import dbus, dbus.bus, sys
connection = dbus.bus.BusConnection(sys.argv[1])
connection.add_match_string("type='signal',sender='org.zpci.Errord1'")
print('ready', flush=True)
sys.stdin.read()
"""


def test_subscriber_never_reads(sim, daemon, journald, bus, monitor, configure):
    """Others get all signals, callers their answers, and whoever wants the function has it at once."""
    configure('[Errord]\nSettleSec=0\nRecovery=none\nRecords=8192\n')
    sim.add(A, fid=0x10, **FAST)
    claim(daemon)
    sim.wait(A, 'err_armed=1')
    idler = subprocess.Popen([sys.executable, '-c', NEVER_READS, bus.address],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert idler.stdout.readline() == b'ready\n'
        count = flood(sim, 6000)
        wait_last(monitor, count)
        assert [signal.args[5] for signal in monitor.named('ErrorReported')] == list(range(1, count + 1))
        assert monitor.get(MANAGER, MANAGER_INTERFACE, 'LastSequence') == count
        assert sim.unbind(A)['ms'] < 1000
    finally:
        idler.kill()
        idler.communicate()


def test_bus_refuses_the_name(sim, daemon, journald, bus, tmp_path):
    """As when the bus policy is not installed."""
    policy = tmp_path / 'empty.conf'
    policy.write_text('<busconfig/>')
    bus._config.write_text(bus._config.read_text().replace(
        bus._config.read_text().split('<include>')[1].split('</include>')[0], str(policy)))
    bus.stop()
    bus.start()
    sim.add(A, fid=0x10, **FAST)
    claim(daemon)
    told(journald, 'is its policy file org.zpci.Errord1.conf installed?')
    report(sim, A, 1)
    journald.wait(ERROR)


def test_name_taken(sim, daemon, journald, monitor):
    """Two daemons would take records from each other: the second ends before it touches anything."""
    sim.add(A, fid=0x10, **FAST)
    monitor.connection.request_name('org.zpci.Errord1')
    daemon.start('--policy=claim', ready=False, **TO_JOURNAL)
    assert daemon.wait_exit() == 1
    told(journald, 'Another daemon owns org.zpci.Errord1 on the system bus; only one can run')
    assert sim.state(A)['opens'] == 0
