#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs as root in the lab host: installs what was staged, then the end-to-end tests, or /lab/command, on this very host.
cd /lab || exit 1
mkdir -p /work-lab && tar -x -C /work-lab -f /lab/built.tar
cp -r /work-lab/stage/. /
# What a package's maintainer script does: rules and reload belong to the machine.
/work-lab/src/install/setup.sh install /etc/libvirt/hooks/qemu /usr/libexec /usr/sbin /etc
echo "# $(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r), libvirt $(virsh --version), $(qemu-system-x86_64 --version | head -n 1)"
echo "# AppArmor: $(cat /sys/module/apparmor/parameters/enabled), $(grep -c . /sys/kernel/security/apparmor/profiles) profiles"
# Tests that want it start it.
systemctl -q disable --now irqbalance.service 2>/dev/null
export DOMTUNE_HOST=lab DOMTUNE_BUILD=/work-lab/src/build
cd /work-lab/src && bash -c "$(cat /lab/command)"
journalctl -q -t domtune -o short >/lab/journal.txt
cp -r /var/log/libvirt /lab/libvirt-logs
dmesg | grep -i denied | sed 's/^/# /' | head -n 20
exit 0
