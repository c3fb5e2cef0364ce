# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What build-image and cross-build share; sourced by them. Packages of other suites and of s390x come through an apt
# configuration of its own inside the cache: neither the machine's sources nor its package database are touched.

cache=${ZPCI_ERRORD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/zpci-errord/vm}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() {
        echo "$*" >&2
}

die() {
        say "${0##*/}: $*"
        exit 1
}

# need TOOL:PACKAGE...: a missing tool is an error that names its package.
need() {
        local pair missing=()

        for pair; do
                type -P "${pair%%:*}" >/dev/null || PATH=$PATH:/usr/sbin:/sbin type -P "${pair%%:*}" >/dev/null ||
                        missing+=("${pair#*:}")
        done
        [[ ${#missing[@]} -eq 0 ]] || die "install first: ${missing[*]}"
}

# One builder at a time; the lock ends with the script. Children must not inherit it: see 9>&- where one outlives us.
lock_cache() {
        mkdir -p "$cache"
        exec 9>"$cache/lock"
        flock -w 900 9 || die "waited 900 s for another build to let go of $cache/lock"
}

# digest FILE...: one short name for what all these files say.
digest() {
        cat -- "$@" | sha256sum | cut -c1-16
}

debian_mirror() {
        local uri

        uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
        [[ -n $uri ]] || die "apt knows no Debian mirror: run apt-get update first"
        echo "$uri"
}

# private_apt DIRECTORY SUITE...: from here on apt works on s390x packages of these suites, the first one preferred.
# A suite whose index the mirror does not serve at the moment is left out, loudly.
private_apt() {
        local dir=$1 suite mirror
        shift

        mirror=$(debian_mirror)
        mkdir -p "$dir"/{lists/partial,cache/archives/partial,none}
        : >"$dir/status"
        cat >"$dir/apt.conf" <<-END
		APT::Architecture "s390x";
		APT::Architectures { "s390x"; };
		APT::Default-Release "$1";
		APT::Install-Recommends "false";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Dir::Cache "$dir/cache";
		Dir::State "$dir";
		Dir::State::status "$dir/status";
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "$dir/none";
		Dir::Etc::preferencesparts "$dir/none";
	END
        export APT_CONFIG=$dir/apt.conf
        for suite; do
                echo "deb [arch=s390x signed-by=$keyring] $mirror $suite main"
        done >"$dir/sources.list"
        apt-get -qq update >&2 || say "warning: not every package index of $* could be read"
}

# fetch_into DIRECTORY PACKAGE...: unpacks the packages and what they depend on; runs none of their scripts.
fetch_into() {
        local root=$1 archives deb
        shift

        archives=$(apt-config shell archives Dir::Cache::archives/d)
        eval "$archives"
        rm -f "$archives"/*.deb
        apt-get -qq -y -d install "$@" >"$archives/log" 2>&1 || { cat "$archives/log" >&2; die "cannot fetch $*"; }
        # base-files first: it brings the links /lib, /bin ... that the others unpack through.
        for deb in "$archives"/base-files_*.deb "$archives"/*.deb; do
                [[ -e $deb ]] || continue
                dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink \
                        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
        done
}
