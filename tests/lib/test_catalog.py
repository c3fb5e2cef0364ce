# SPDX-License-Identifier: LGPL-2.1-or-later
"""The message catalog and common/names.h speak of the same entries and fields."""
import re
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parents[2]
CATALOG = SOURCE / 'systemd' / 'zpci-errord.catalog'
NAMES = (SOURCE / 'common' / 'names.h').read_text()


def defines(pattern):
    return set(re.findall(rf'^#define {pattern} +"([^"]+)"', NAMES, re.M))


def test_each_message_id_is_explained():
    ids = re.findall(r'^-- ([0-9a-f]{32})$', CATALOG.read_text(), re.M)
    assert len(ids) == len(set(ids))
    assert set(ids) == defines(r'ERRORD_MESSAGE_\w+_ID')


def test_it_names_fields_that_exist():
    used = set(re.findall(r'@(\w+)@', CATALOG.read_text()))
    assert used and used <= defines(r'ERRORD_FIELD_\w+')


def test_journalctl_reads_it(tmp_path):
    directory = tmp_path / 'usr' / 'lib' / 'systemd' / 'catalog'
    directory.mkdir(parents=True)
    (directory / CATALOG.name).write_bytes(CATALOG.read_bytes())
    root = f'--root={tmp_path}'
    subprocess.run(['journalctl', root, '--update-catalog'], check=True)
    listed = subprocess.run(['journalctl', root, '--list-catalog', '--no-pager'], check=True,
                            text=True, stdout=subprocess.PIPE).stdout
    assert {line.split()[0] for line in listed.splitlines()} == defines(r'ERRORD_MESSAGE_\w+_ID')
