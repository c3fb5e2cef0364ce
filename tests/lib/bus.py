# SPDX-License-Identifier: LGPL-2.1-or-later
"""A system bus of one's own, dbus-daemon or dbus-broker, under the project's own policy."""
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import listen
from deadline import Deadline, scaled

POLICY = Path(__file__).parents[2] / 'dbus' / 'org.zpci.Errord1.conf'

# As the system.conf that comes with D-Bus; besides, root may be what tests put in services' places.
CONFIG = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
    <allow own="org.freedesktop.systemd1"/>
    <allow send_destination="org.freedesktop.systemd1"/>
  </policy>
  <include>{policy}</include>
</busconfig>
'''


class Bus:
    """start(), then `address`. The same address after stop() and start()."""

    KINDS = ('dbus-daemon', 'dbus-broker')

    def __init__(self, kind, directory, namespace, policy=POLICY):
        """namespace: where a journald runs, because dbus-broker wants to log."""
        assert kind in self.KINDS
        self.kind = kind
        self.namespace = namespace
        # pytest's directories are for their owner only, and a system bus is for everybody.
        self._public = tempfile.TemporaryDirectory(prefix='zpci-errord-bus-')
        os.chmod(self._public.name, 0o755)
        self.socket = Path(self._public.name) / 'bus'
        self.address = f'unix:path={self.socket}'
        self.environment = {'DBUS_SYSTEM_BUS_ADDRESS': self.address}
        self._config = Path(directory) / 'bus.conf'
        self._config.write_text(CONFIG.format(socket=self.socket, policy=policy))
        self._log = Path(directory) / 'bus.log'
        self.process = None

    @property
    def log(self):
        return self._log.read_text(errors='replace')

    def _spawn(self, command, fd):
        with open(self._log, 'ab') as log:
            self.process = subprocess.Popen(
                self.namespace.command(*command), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, pass_fds=[fd], env={**os.environ, **self.environment})

    def _start_daemon(self):
        ready, tell = os.pipe()
        self._spawn(['dbus-daemon', f'--config-file={self._config}', '--nofork', '--nopidfile',
                     '--nosyslog', f'--print-address={tell}'], tell)
        os.close(tell)
        with open(ready, 'rb') as answer:
            Deadline(10, lambda: f'dbus-daemon\n{self.log}').readable(answer)
            assert answer.readline(), f'dbus-daemon does not start\n{self.log}'

    def _start_broker(self):
        # Connections wait in the socket's queue, so there is nothing to wait for.
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(self.socket))
            server.listen(128)
            self._spawn(listen.command(
                [('dbus', server.fileno())],
                ['dbus-broker-launch', '--scope', 'system', '--config-file', str(self._config)]),
                server.fileno())

    def start(self):
        self.socket.unlink(missing_ok=True)
        if self.kind == 'dbus-daemon':
            self._start_daemon()
        else:
            self._start_broker()
        os.chmod(self.socket, 0o666)
        return self

    def _router(self):
        """The process that passes messages on; dbus-broker is a child of its launcher."""
        pid = self.process.pid
        if self.kind == 'dbus-daemon':
            return pid
        children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
        return int(children[0]) if children else pid  # it has only just begun

    def freeze(self):
        os.kill(self._router(), signal.SIGSTOP)

    def thaw(self):
        os.kill(self._router(), signal.SIGCONT)

    def stop(self):
        """Nobody listens any more when it returns: dbus-broker ends some time after its launcher."""
        if self.process:
            router = os.pidfd_open(self._router())
            self.process.kill()
            self.process.wait()
            self.process = None
            try:
                signal.pidfd_send_signal(router, signal.SIGKILL)
            except ProcessLookupError:
                pass
            Deadline(10, f'{self.kind} to end').readable(router)
            os.close(router)

    def close(self):
        self.stop()
        self._public.cleanup()

    def run(self, *argv, **options):
        """Runs a client, busctl for example, inside; returns its standard output."""
        return subprocess.run(
            self.namespace.command(*argv), env={**os.environ, **self.environment}, text=True,
            check=True, timeout=scaled(10), **{'stdout': subprocess.PIPE, **options}).stdout
