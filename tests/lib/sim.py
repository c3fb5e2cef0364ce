# SPDX-License-Identifier: LGPL-2.1-or-later

"""Drives the simulated host of tests/sim: zPCI functions, their sysfs, uevents, VFIO nodes and errors, and a kernel log.

    with Sim(build_dir) as sim:
        sim.add("0001:00:00.0", path="both")
        daemon = subprocess.Popen([...], env=sim.env())
        sim.wait("0001:00:00.0", "held=1")
        sim.error("0001:00:00.0", pec=2)

Every method is one command of the line protocol (`help` lists them) and returns its answer as a dictionary; a command
that fails raises SimError. Nothing here sleeps: wait() returns when the state is reached, and raises with the state when
it is not reached in time.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess

from deadline import scaled

COMMAND_TIMEOUT = 60.0


class SimError(Exception):
    """A command failed. `code` is the errno name."""

    def __init__(self, command, answer):
        super().__init__(f"simulator: {command!r}: {answer}")
        self.code = answer.split()[1] if len(answer.split()) > 1 else ""


def _find(build_dir, name):
    """The built file `name`, in the build folder given or in the one that tests are told by the environment."""
    base = build_dir or os.environ.get("ZPCI_ERRORD_BUILD")
    if not base:
        raise RuntimeError("no build folder: give one, or set ZPCI_ERRORD_BUILD")
    for folder in ("tests/sim", "sim", "."):
        path = pathlib.Path(base, folder, name)
        if path.is_file():
            return path.resolve()
    raise RuntimeError(f"{name} is not built below {base}")


def _value(text):
    try:
        return int(text, 0)
    except ValueError:
        return text


def _parse(answer):
    """`ok KEY=VALUE ...` or `ok {JSON}`; what is neither comes as a list under "words"."""
    rest = answer[2:].strip()
    if rest.startswith("{"):
        return json.loads(rest)
    result = {}
    for word in rest.split():
        key, equals, value = word.partition("=")
        if equals:
            result[key] = _value(value)
        else:
            result.setdefault("words", []).append(word)
    return result


class Connection:
    """One connection to the controller: one command at a time. A second thread that waits needs its own."""

    def __init__(self, directory):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(scaled(COMMAND_TIMEOUT))
        self._socket.connect(f"{directory}/sim/control")
        self._lines = self._socket.makefile("rw", encoding="utf-8", errors="replace")

    def send(self, *words):
        """Sends a command without waiting for the answer: receive() gets it."""
        self._lines.write(" ".join(str(word) for word in words) + "\n")
        self._lines.flush()

    def receive(self, command=""):
        answer = self._lines.readline().rstrip("\n")
        if not answer.startswith("ok"):
            raise SimError(command, answer or "the simulator is gone")
        return _parse(answer)

    def command(self, *words):
        self.send(*words)
        return self.receive(" ".join(str(word) for word in words))

    def close(self):
        self._lines.close()
        self._socket.close()


def _settings(settings):
    return [f"{key}={value}" for key, value in settings.items()]


class Sim:
    """A simulated host, from start() to close()."""

    def __init__(self, build_dir=None, directory=None, world=False, kmsg=True):
        self._program = _find(build_dir, "zpci-sim")
        self._library = _find(build_dir, "libzpci-sim.so")
        self._arguments = ["--die-with-parent"]
        if directory:
            self._arguments.append(f"--dir={directory}")
        if world:
            self._arguments.append("--world")
        if not kmsg:
            self._arguments.append("--no-kmsg")
        self._process = None
        self._connection = None
        self.directory = None

    def start(self):
        if not shutil.which("umockdev-wrapper"):
            raise RuntimeError("umockdev is not installed (Debian package umockdev)")
        self._process = subprocess.Popen([self._program, *self._arguments], stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError(f"the simulator did not start (exit status {self._process.wait()})")
        self.directory = line.split(maxsplit=1)[1].strip()
        self._connection = self.connect()
        return self

    def close(self):
        if self._connection:
            self._connection.close()
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=scaled(COMMAND_TIMEOUT))
            self._process.stdout.close()
        self._connection = self._process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def connect(self):
        """A further connection, for a command that is answered late while others go on."""
        return Connection(self.directory)

    def env(self, base=None, sanitizer=None):
        """The environment of a client. `sanitizer` is a library that has to come first, as gcc's ASan does."""
        env = dict(os.environ if base is None else base)
        preload = [sanitizer, str(self._library), "libumockdev-preload.so.0", env.get("LD_PRELOAD")]
        env["LD_PRELOAD"] = ":".join(library for library in preload if library)
        env["UMOCKDEV_DIR"] = self.directory
        return env

    def command(self, *words):
        """Any command of the line protocol."""
        return self._connection.command(*words)

    def add(self, address, **settings):
        return self.command("add", address, *_settings(settings))

    def add_many(self, count, **settings):
        return self.command("add-many", count, *_settings(settings))

    def bind(self, address, driver="vfio-pci"):
        return self.command("bind", address, driver)

    def unbind(self, address):
        """Answers when the device is closed; `ms` says how long that took."""
        return self.command("unbind", address)

    def remove(self, address):
        return self.command("remove", address)

    def vanish(self, address):
        return self.command("vanish", address)

    def set(self, address, **settings):
        return self.command("set", address, *_settings(settings))

    def property(self, address, key, value=""):
        return self.command("property", address, key, value)

    def sysfs(self, address, attribute, value=""):
        return self.command("sysfs", address, attribute, value)

    def mode(self, node, mode):
        """Permissions of a node, named below /dev."""
        return self.command("mode", node, f"{mode:o}")

    def hold(self, address, obeys=False):
        return self.command("hold", address, *(["req=1"] if obeys else []))

    def unhold(self, address):
        return self.command("unhold", address)

    def uevent(self, address, action="change", **properties):
        return self.command("uevent", address, action, *_settings(properties))

    def error(self, address, **fields):
        return self.command("error", address, *_settings(fields))

    def signal(self, address, irq="err", count=1):
        return self.command("signal", address, irq, count)

    def kmsg(self, priority, text):
        return self.command("kmsg", priority, text)

    def kmsg_overrun(self):
        return self.command("kmsg-overrun")

    def monitor_overrun(self):
        return self.command("monitor-overrun")

    def state(self, address):
        return self.command("state", address)

    def list(self):
        return self.command("list").get("words", [])

    def wait(self, address, condition, timeout=10.0):
        """Returns the state once `condition` ("held=1,pending>=2") holds."""
        return self.command("wait", address, condition, int(scaled(timeout) * 1000))
