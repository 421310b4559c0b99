# What the configuration says of a camera: controls that come back after it was unplugged, a control that it doesn't take, who it must be, and
# that it may be virtual.
. /host/lib.sh
broker start
listen
plug none
NODE=$(readlink -f "$CAMERA")
livenessd cameras --json >/host/out/cameras.json || die "exit code $?"
livenessd cameras
PRODUCT=$(grep -o '"usb:[^"]*"' /host/out/cameras.json | head -1 | tr -d '"' | cut -d: -f1-3)
[ -n "$PRODUCT" ] || die "no identity is listed"
brightness() { v4l2-ctl -d "$NODE" -C brightness | grep -q ": $1\$"; }

# with LINE... starts the daemon anew with these lines for the camera at a path that stays whatever is plugged in.
with() {
  if [ -n "${DAEMON:-}" ]; then
    kill -TERM "$DAEMON"
    wait "$DAEMON" || die "exit code $?"
  fi
  configure MJPG 10
  sed -i "s|path: .*|path: $NODE|; /allow_virtual/d; /identity/d" livenessd.yaml
  printf '    %s\n' "$@" >>livenessd.yaml
  start_daemon
}

mark controls
brightness 128 || die "the camera begins with another brightness"
with 'allow_virtual: true' 'controls: {brightness: 90}' "identity: $PRODUCT:LAB0001" 'rotate: 180' 'region: {x: 0.25, width: 0.5}'
await 120 "a streaming camera" state streaming
brightness 90 || die "the brightness wasn't set"
mark unplugged
unplug
mark replugged
plug none
await 60 "a streaming camera" state streaming
brightness 90 || die "the brightness wasn't set again"

mark wrong
with 'allow_virtual: true' 'controls: {brightness: 300, contrast: 3}'
await 120 "a streaming camera that doesn't heed" state streaming
await 30 "why" heard camera/front/state 'allowed is 0 to 255.*no such control; there are: brightness'

mark stranger
with 'allow_virtual: true' "identity: $PRODUCT:LAB0002"
await 120 "a camera that isn't the one" heard camera/front/state 'CAMERA_SUSPECT.*another camera than identity names'

mark virtual
with "identity: $PRODUCT:LAB0001"
await 120 "a virtual camera" heard camera/front/state 'CAMERA_SUSPECT.*virtual camera'

kill -TERM "$DAEMON"
wait "$DAEMON"
result exit $?
