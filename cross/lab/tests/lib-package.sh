# What the scripts about the package share, beside lib.sh. The service's log is systemd's.
DEVICE=/dev/livenessd/Lab_Lab_UVC_camera_LAB0001
trap 'code=$?; journalctl -b -u livenessd -o cat >daemon.log; (exit $code); finish' EXIT

property() { systemctl show -P "$1" livenessd; }
is() { [ "$(property ActiveState)" = "$1" ]; }
verdicts() { grep -c '"topic":"livenessd/lab/camera/front/verdict"' messages; }
more() { [ "$(verdicts)" -ge "$1" ]; }
version() { dpkg-query -W -f '${Version}' livenessd; }

# tree is all that a package can leave behind, and who may do what with it.
tree() {
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /host -o -path /root -o -path /opt -o -path /var/tmp -o -path /var/log \
    -o -path /var/cache/ldconfig -o -path /var/lib/mosquitto -o -path '/var/lib/dpkg/*-old' -o -path '/var/lib/dpkg/lock*' -o -path /var/lib/dpkg/triggers \
    -o -path '/var/lib/systemd/random-seed' -o -path '/var/lib/systemd/timers' -o -path '/var/lib/systemd/timesync' -o -path '/etc/*-' -o -path '/etc/.pwd.lock' \
    -o -path /etc/mosquitto -o -path /etc/systemd/system/multi-user.target.wants/mosquitto.service \) -prune -o -printf '%p %M %u %g %l\n' | grep -v '^/var/lib/dpkg/status ' | sort
  getent passwd
  getent group
}
