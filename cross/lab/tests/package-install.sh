# The package on a machine that was just switched on and never had it: as it is, and then with a configuration. The machine's disk stays.
. /host/lib.sh
. /host/lib-package.sh
broker enable
broker start
listen
plug live
tree >/root/before

mark install
dpkg -i /host/old.deb || die "it doesn't install"
# The only camera is on the kernel's USB/IP host controller, and nobody has said yet that it may be.
await 180 "a camera that isn't trusted" heard camera/camera/state 'CAMERA_SUSPECT'
is activating || die "it is ready without a camera"
heard availability '"payload":"online"' || die "a state, and not online"
result enabled "$(systemctl is-enabled livenessd)"
result user "$(ps -o user= -p "$(property MainPID)")"
result etc "$(stat -c '%U:%G %a' /etc/livenessd)"
result alias "$(readlink -f "$DEVICE")"
result groups "$(id -nG livenessd)"
systemd-analyze verify livenessd.service >/host/out/verify 2>&1
result verify $?

mark configured
configure MJPG 10
sed "s|path: .*|path: $DEVICE|" livenessd.yaml >/etc/livenessd/livenessd.yaml
systemctl restart --no-block livenessd # a reload would wait until it is ready, which it never is without a camera
await 180 "a service that is ready" is active
await 60 "a streaming camera" state streaming
await 300 "a live verdict" verdict live
sync
