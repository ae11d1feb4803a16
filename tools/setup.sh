#!/usr/bin/env bash
# Brings what a make target needs onto a Debian or Ubuntu machine with a Rust toolchain:
#
#   tools/setup.sh test|demo|bench|fuzz
#
# Says nothing and takes no time when all is there. Where it cannot install, one line says what is missing; that is a
# failure only for what nothing can be built without.
set -euo pipefail
shopt -s extglob

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

usage() { die "usage: tools/setup.sh test|demo|bench|fuzz"; }
[ $# -eq 1 ] || usage
readonly target=$1

# The Debian packages of a target. qemu-utils and qemu-block-extra must be of the same version.
packages() {
    case $target in
        test) echo gcc libc6-dev pkg-config python3 libiscsi-bin qemu-utils qemu-block-extra e2fsprogs nftables \
            iproute2 strace etcd-server etcd-client ;;
        demo) echo gcc libc6-dev ;;
        bench) echo gcc libc6-dev pkg-config python3 libiscsi-dev libiscsi-bin tgt ;;
        fuzz) echo gcc g++ libc6-dev ;;
        *) usage ;;
    esac
}

missing_packages() {
    local package
    for package in $(packages); do
        # The architecture is not named: python3 and others are the same for all. What dpkg only knows of, because
        # another package recommends it, is "not-installed".
        case " $(dpkg-query -W -f='${db:Status-Status} ' "$package" 2>/dev/null || true)" in
            *" installed "*) ;;
            *) echo "$package" ;;
        esac
    done
}

# The command that runs another as root; fails if there is none.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# Runs apt with services held back: a daemon that comes with a package is for us to start, not for its package.
install_packages() {
    local policy=/usr/sbin/policy-rc.d made_policy=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made_policy=yes
    fi
    {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
                --no-install-recommends --allow-downgrades install "$@"
    } >&2 || status=$?
    if [ "$made_policy" = yes ]; then
        as_root rm -f "$policy"
    fi
    return "$status"
}

# Both packages of qemu in the one version that has both: a newer qemu-utils from elsewhere would bar the other.
qemu_packages() {
    local version
    version=$(LC_ALL=C apt-cache policy qemu-block-extra | sed -n 's/^ *Candidate: //p')
    case $version in
        "" | "(none)") echo qemu-utils qemu-block-extra ;;
        *) echo "qemu-utils=$version" "qemu-block-extra=$version" ;;
    esac
}

# One call to apt for all that is missing, so that versions that belong together are chosen together.
setup_packages() {
    local missing wanted service
    if ! have dpkg-query; then
        setup_elsewhere
        return
    fi
    missing=$(missing_packages | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0
    if ! have apt-get || { [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; }; then
        say "missing packages, not installed for want of root: $missing (apt-get install $missing)"
        return 0
    fi
    say "installing $missing"
    as_root apt-get -q -o DPkg::Lock::Timeout=120 update >&2 || true
    wanted=$missing
    case " $missing " in
        *" qemu-block-extra "* | *" qemu-utils "*) wanted="${missing//qemu-*([a-z-])/} $(qemu_packages)" ;;
    esac
    # shellcheck disable=SC2086  # a list of words
    install_packages $wanted || true
    for service in tgt etcd; do
        if [[ " $missing " == *" $service"* ]] && have systemctl; then
            # Nor is it to come up at the next boot.
            as_root systemctl disable --quiet "$service" >/dev/null 2>&1 || true
        fi
    done
    missing=$(missing_packages | tr '\n' ' ')
    [ -z "$missing" ] || say "could not install: ${missing% }"
}

# Another system than Debian's: looks for the commands and leaves the installing to its owner.
setup_elsewhere() {
    local command missing=()
    case $target in
        test) set -- cc python3 iscsi-inq qemu-img mkfs.ext4 nft ip etcd etcdctl ;;
        demo) set -- cc ;;
        bench) set -- cc pkg-config python3 iscsi-perf tgtd ;;
        fuzz) set -- cc c++ ;;
    esac
    for command; do
        have "$command" || missing+=("$command")
    done
    [ ${#missing[@]} -eq 0 ] ||
        say "this is not Debian; missing commands: ${missing[*]} (Debian has them in: $(packages))"
}

# The parts of the Rust toolchain that a minimal one lacks, and the cargo commands that a target uses.
setup_rust() {
    have cargo || die "cargo is missing: install a Rust toolchain (https://rustup.rs)"
    case $target in
        test)
            cargo fmt --version >/dev/null 2>&1 || rustup -q component add rustfmt ||
                die "rustfmt is missing from the Rust toolchain"
            cargo clippy --version >/dev/null 2>&1 || rustup -q component add clippy ||
                die "clippy is missing from the Rust toolchain"
            ;;
    esac
}

packages >/dev/null
setup_packages
have cc || die "there is no C compiler, and nothing can be linked without one: install gcc and libc6-dev"
setup_rust
