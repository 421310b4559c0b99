# An infrared camera beside another, both v4l2loopback: with the face in the one alone, and in both. Then a feed that loops.
. /host/lib.sh
modprobe v4l2loopback video_nr=10,11 exclusive_caps=1,1 devices=2
broker start
listen
size=$((640 * 480 * 2))
for scene in none live; do
  read -r _ first last < <(grep "^$scene" scenes/index)
  dd if=scenes/frames.yuyv of=$scene.yuyv bs=$size skip="$first" count=$((last - first + 1)) status=none
done
# feed DEVICE SCENE plays a part of the demo's clip over and over.
feed() { camfeed "$1" 640x480 YUYV 5 "$2.yuyv" & }

# configure_cues CUES [CAMERA...]
configure_cues() {
  {
    printf '%s\n' 'device: lab' 'log: {format: json}' "decision: {window: 20s, timeout: 2m, cues: {$1}}" 'cameras:'
    shift
    printf '  %s\n' "$@"
  } >livenessd.yaml
}
configure_cues 'repeat: off' 'front: {path: /dev/video10, allow_virtual: true, fps: 5, pair: beside}' 'beside: {path: /dev/video11, allow_virtual: true, fps: 5, role: ir}'
feed /dev/video10 live
feed /dev/video11 none
beside=$!

mark unseen
start_daemon
await 120 "a streaming camera" state streaming
await 60 "a streaming infrared camera" state streaming beside
await 240 "a spoof verdict" verdict spoof
kill -TERM "$DAEMON"
wait "$DAEMON"
kill "$beside" # while nobody reads: the format of a device that is read can't be set
wait "$beside"

mark seen
feed /dev/video11 live
beside=$!
start_daemon
await 240 "a live verdict" verdict live
kill -TERM "$DAEMON"
wait "$DAEMON"

mark loop
configure_cues 'infrared: off' 'front: {path: /dev/video10, allow_virtual: true, fps: 5}'
start_daemon
await 120 "a streaming camera" state streaming
await 300 "a doubt about the camera" heard camera/front/verdict CAMERA_SUSPECT
running || die "the daemon is gone"
kill -TERM "$DAEMON"
wait "$DAEMON"
result exit $?
