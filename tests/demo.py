#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""demo.py BUILD: what the daemon does, on a simulated PCI function, a D-Bus and a journal of its own.

Nothing of this machine is touched: all of it runs in a mount namespace, and ends with this program."""
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / 'lib'))

from bus import Bus  # noqa: E402
from deadline import Deadline  # noqa: E402
from journald import Journald  # noqa: E402
from monitor import Monitor  # noqa: E402
from namespace import Namespace  # noqa: E402
from service import Service  # noqa: E402
from sim import Sim  # noqa: E402

ADDRESS = '0001:00:00.0'
OBJECT = '/org/zpci/Errord1/function/00000010'
INTERFACE = 'org.zpci.Errord1.Function'
CONFIG = '[Errord]\nPolicy=claim\nSettleSec=1\n'
BOLD, PLAIN = ('\033[1m', '\033[0m') if sys.stdout.isatty() else ('', '')


def say(text):
    print(f'\n{BOLD}== {text}{PLAIN}', flush=True)


class BusctlMonitor:
    """`busctl monitor` as people run it, and what it prints."""

    def __init__(self, bus):
        self.process = subprocess.Popen(
            bus.namespace.command(
                'env', f'DBUS_SYSTEM_BUS_ADDRESS={bus.address}', 'busctl', 'monitor', 'org.zpci.Errord1'),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # It says so once it sees everything.
        Deadline(10, 'busctl monitor').readable(self.process.stderr)
        self.process.stderr.readline()

    def signal(self, member):
        """The text of the first signal of this name."""
        deadline = Deadline(10, f'busctl monitor to print {member}')
        block = []
        while True:
            deadline.readable(self.process.stdout)
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError('busctl monitor ended')
            if line.strip():
                block.append(line)
                continue
            if any(f'Member={member}' in part for part in block):
                return ''.join(block)
            block = []

    def close(self):
        self.process.kill()
        self.process.communicate()


def show(namespace, journald, bus, sim, daemon):
    say(f'A PCI function appears: {ADDRESS}, FID 0x10, bound to vfio-pci (simulated)')
    sim.add(ADDRESS, fid=0x10, pchid=0x104)

    say('zpci-errord starts, with Policy=claim')
    subprocess.run(namespace.command('sh', '-euc', 'cat > /run/zpci-errord.conf'),
                   input=CONFIG, text=True, check=True)
    daemon.start()
    monitor = Monitor(bus.address)
    monitor.wait_property(OBJECT, INTERFACE, 'State', 'claimed')
    print(daemon.stderr, end='')

    busctl = BusctlMonitor(bus)
    say('The function reports an error: DMA outside its aperture, at 0x12346002 (PEC 0x0002)')
    sim.error(ADDRESS, pec=2, faddr=0x12346002)

    say('The signal, as `busctl monitor org.zpci.Errord1` prints it')
    print(busctl.signal('ErrorReported'), end='')
    busctl.close()

    monitor.wait('RecoveryChanged', where=lambda signal: signal.args[2] == 'recovered')
    journald.wait(f'ZPCI_ADDRESS={ADDRESS}', 'ZPCI_RECOVERY=recovered')
    monitor.close()

    say(f'The journal: journalctl ZPCI_ADDRESS={ADDRESS}')
    journalctl = namespace.command('journalctl', '--no-pager', '--quiet', f'ZPCI_ADDRESS={ADDRESS}')
    subprocess.run(journalctl, check=True)
    say('The same entry of the error with its fields: --output=verbose')
    subprocess.run([*journalctl, 'ZPCI_PEC=0x0002', '--output=verbose'], check=True)


def main():
    build = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix='zpci-errord-demo-') as directory, Sim(build) as sim:
        namespace = Namespace()
        journald = Journald(directory, namespace).start()
        bus = Bus('dbus-daemon', directory, namespace).start()
        environment = {**bus.environment, **sim.env(base={})}
        daemon = Service(
            namespace.command('env', *(f'{key}={value}' for key, value in environment.items()),
                              str(build / 'daemon' / 'zpci-errord')),
            directory)
        try:
            show(namespace, journald, bus, sim, daemon)
            say('zpci-errord stops, and gives the function back')
            daemon.stop()
        finally:
            for part in (daemon, bus, journald, namespace):
                part.close()
    say('Done; nothing is left behind')


if __name__ == '__main__':
    main()
