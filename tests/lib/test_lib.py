# SPDX-License-Identifier: LGPL-2.1-or-later
"""The test library itself, with the smallest programs that can stand in for a daemon."""
import subprocess

import dbus.lowlevel
import pytest

from bus import Bus
from deadline import Deadline
from monitor import Monitor
from service import Service

# Answers READY=1, stores an eventfd once, says what it got, and waits for its end.
DAEMON = '''
import array, os, signal, socket
def notify(text, *fds):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"])
        s.sendmsg([text.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
got = os.environ.get("LISTEN_FDNAMES", "")
if got:
    assert os.environ["LISTEN_PID"] == str(os.getpid())
    notify("STATUS=%s %d" % (got, os.eventfd_read(3)))
else:
    fd = os.eventfd(7)
    notify("FDSTORE=1\\nFDNAME=counter", fd)
    notify("FDSTORE=1\\nFDNAME=other", fd)
    notify("FDSTOREREMOVE=1\\nFDNAME=other")
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
notify("READY=1")
signal.pause()
'''


@pytest.fixture
def service(tmp_path):
    script = tmp_path / 'stand-in'
    script.write_text('#!/usr/bin/python3\n' + DAEMON)
    script.chmod(0o755)
    service = Service([str(script)], tmp_path)
    yield service
    service.close()


def log(journald, text):
    subprocess.run(journald.namespace.command('logger', '--journald'), check=True, text=True,
                   input=f'MESSAGE={text}\nZPCI_ADDRESS=0001:00:00.0\n')


def test_deadline_says_what_it_waited_for():
    with pytest.raises(AssertionError, match='waited .* for the moon'):
        Deadline(0, 'the moon').left()


def test_store_survives_a_kill_and_not_a_stop(service):
    service.start()
    service.kill()
    service.start(ready=False)
    service.wait_notify('STATUS', 'counter 7')
    service.wait_notify('READY', '1')
    assert service.stop() == 0
    assert not service.notify.store


def test_a_daemon_that_fails_is_reported(tmp_path):
    service = Service(['/bin/false'], tmp_path)
    with pytest.raises(AssertionError, match='exit status 1'):
        service.start()
    service.close()


def test_journal(journald):
    assert journald.entries('ZPCI_ADDRESS=0001:00:00.0') == []
    log(journald, 'one')
    assert [entry['MESSAGE'] for entry in journald.entries('ZPCI_ADDRESS=0001:00:00.0')] == ['one']
    journald.freeze()
    log(journald, 'two')
    journald.thaw()
    found = journald.wait('ZPCI_ADDRESS=0001:00:00.0', count=2)
    assert [entry['MESSAGE'] for entry in found] == ['one', 'two']
    with pytest.raises(AssertionError, match='1 entries ZPCI_FID=9; have 0'):
        journald.wait('ZPCI_FID=9', seconds=0.1)


def test_journal_survives_a_restart(journald):
    log(journald, 'one')
    journald.entries()
    journald.kill()
    journald.start()
    assert len(journald.entries('ZPCI_ADDRESS=0001:00:00.0')) == 1


@pytest.mark.parametrize('kind', Bus.KINDS)
def test_bus(kind, tmp_path, journald):
    bus = Bus(kind, tmp_path, journald.namespace).start()
    try:
        for _ in range(2):
            owner = Monitor(bus.address)
            subscriber = Monitor(bus.address)
            owner.connection.request_name('org.zpci.Errord1')
            bus.run('busctl', 'emit', '/org/zpci/Errord1', 'org.test', 'NotOurs')
            bus.freeze()
            bus.thaw()
            emit(owner, 'Ours', 5)
            assert subscriber.wait('Ours')[0].args == [5]
            assert not subscriber.named('NotOurs')
            subscriber.close()
            owner.close()
            bus.stop()
            bus.start()
    finally:
        bus.close()


def emit(owner, member, number):
    message = dbus.lowlevel.SignalMessage('/org/zpci/Errord1', 'org.zpci.Errord1.Manager', member)
    message.append(number, signature='u')
    owner.connection.send_message(message)
    owner.connection.flush()
