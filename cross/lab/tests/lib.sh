# What the scripts share: a USB camera, a broker, a listener, the daemon, and waiting for what they say. A script ends with
# exit code 1 at the first thing that doesn't come. What happened lies in /host/out:
#   messages   what the listener got, as mosquitto_sub's JSON, and between it the script's marks, in the order of events
#   daemon.log what the daemon said
#   results    lines of NAME VALUE
set -u
cd /run
CAMERA=/dev/v4l/by-id/usb-Lab_Lab_UVC_camera_LAB0001-video-index0
SEEN=0
: >messages
: >daemon.log

finish() {
  local code=$?
  cp messages daemon.log /host/out/
  [ $code = 0 ] || { echo "-- the daemon's last words:"; tail -5 daemon.log; echo "-- the last messages:"; tail -5 messages; }
  exit $code
}
trap finish EXIT

die() { echo "$*"; exit 1; }
result() { echo "$*" >>/host/out/results; }
since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }'; }

# await SECONDS WHAT COMMAND... waits until the command succeeds.
await() {
  local limit=$((SECONDS + $1)) what=$2 start
  start=$(date +%s.%N)
  shift 2
  until "$@"; do
    [ $SECONDS -lt $limit ] || die "no $what after $(since "$start") s"
    sleep 0.2
  done
  echo "$what after $(since "$start") s"
}

# mark NAME makes heard forget what came before.
mark() {
  echo "{\"mark\":\"$1\"}" >>messages
  SEEN=$(wc -l <messages)
  echo "== $1"
}

# heard TOPIC PATTERN tells whether a message came since the last mark. The payload stands in the JSON as a quoted string, so
# a document's quotation marks have backslashes before them; the pattern does without.
heard() { tail -n +$((SEEN + 1)) messages | tr -d '\\' | grep -q "\"topic\":\"livenessd/lab/$1\".*$2"; }
state() { heard "camera/${2:-front}/state" "\"state\":\"$1\""; }
unwell() { state recovering "$@" || state failed "$@"; }
verdict() { heard camera/front/verdict "\"verdict\":\"$1\""; }

broker() { systemctl "$1" mosquitto; }

listening() { grep -q lab/hello messages; }
hello() { mosquitto_pub -t lab/hello -m hello && listening; }

# listen starts the listener; it stays through restarts of the broker.
listen() {
  stdbuf -oL mosquitto_sub -i listener -F %j -t 'livenessd/#' -t lab/hello -q 1 >>messages &
  await 60 "a listener" hello
}

# plug SCENE plugs the USB camera in, which plays that part of the demo's clip.
plug() {
  [ -p camera ] || { modprobe -a vhci-hcd uvcvideo; mkfifo camera; exec 7<>camera; }
  uvccam -l "$(awk -v scene="$1" '$1 == scene { print $2 "," $3 }' scenes/index)" /run/scenes/*.jpg /run/scenes/frames.yuyv <camera 2>>uvccam.log &
  await 60 "a camera" test -e "$CAMERA"
  udevadm settle
}

tell() { echo "$*" >&7; }

# unplug returns when the daemon has said so: what it says from then on is about what is plugged in next.
unplug() {
  tell unplug
  await 30 "the state of a lost camera" unwell
  await 20 "the end of the camera" test ! -e "$CAMERA"
}

# configure FORMAT FPS [LINE...] writes a configuration for the USB camera. Nothing here is as fast as the defaults expect, and
# the camera plays a clip over and over, of which a daemon at a door would have its doubts. It is on the kernel's USB/IP host
# controller, which a daemon takes for virtual.
configure() {
  local format=$1 fps=$2
  shift 2
  {
    printf '%s\n' 'device: lab' 'log: {format: json}' 'decision: {window: 20s, timeout: 2m, cues: {repeat: off}}' 'cameras:'
    printf '  %s\n' 'front:' "  path: $CAMERA" '  allow_virtual: true' '  identity: usb:1d6b:0102:LAB0001' "  format: $format" "  fps: $fps" "$@"
  } >livenessd.yaml
}

start_daemon() {
  livenessd run --config livenessd.yaml 2>>daemon.log &
  DAEMON=$!
}
running() { kill -0 "$DAEMON" 2>/dev/null; }
logged() { grep -q "$1" daemon.log; }

install -m 755 -D -t /opt/livenessd /host/livenessd
install -m 644 -t /opt/livenessd /host/libtensorflowlite_c.so
cp -r /host/scenes /run/
PATH=/opt/livenessd:/host:$PATH
