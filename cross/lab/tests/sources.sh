# vivid and v4l2loopback as cameras, with nobody in the picture: they stream, and there is no verdict. vivid is taken
# at first, and fails in its own ways later.
. /host/lib.sh
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x00
modprobe v4l2loopback video_nr=10 exclusive_caps=1 devices=1
broker start
listen
{
  printf '%s\n' 'device: lab' 'log: {format: json}' 'decision: {window: 20s, timeout: 2m}' 'cameras:'
  printf '  %s\n' 'vivid: {path: /dev/video0, allow_virtual: true, format: YUYV, fps: 5}' 'loopback: {path: /dev/video10, allow_virtual: true, fps: 5}'
} >livenessd.yaml

# Somebody else has it: who, is in the hint.
v4l2-ctl -d /dev/video0 --set-fmt-video=width=640,height=480,pixelformat=YUYV --stream-mmap >/dev/null 2>&1 &
other=$!
streams() { v4l2-ctl -d /dev/video0 --set-fmt-video=width=320,height=180 2>&1 | grep -qi busy; }
await 30 "another program that streams" streams

mark taken
start_daemon
await 120 "a camera that is taken" state failed vivid
kill "$other"

mark start
await 60 "a streaming vivid" state streaming vivid

await 60 "a loopback device that nothing feeds" grep -q '"camera failed".*loopback' daemon.log

mark fed
read -r _ first last < <(grep ^none scenes/index)
size=$((640 * 480 * 2))
dd if=scenes/frames.yuyv of=empty.yuyv bs=$size skip="$first" count=$((last - first + 1)) status=none
camfeed /dev/video10 640x480 YUYV 5 empty.yuyv &
feeder=$!
await 60 "a streaming loopback" state streaming loopback

mark unfed
kill "$feeder"
await 60 "the loss of it" unwell loopback

# The driver's own faults: the stream breaks, a buffer isn't taken back, and the stream doesn't start the first time.
for fault in inject_fatal_streaming_error inject_vidioc_qbuf_error inject_vidioc_streamon_error; do
  mark "$fault"
  [ $fault != inject_vidioc_streamon_error ] || v4l2-ctl -d /dev/video0 -c inject_fatal_streaming_error=1
  v4l2-ctl -d /dev/video0 -c $fault=1
  await 30 "the loss of vivid" unwell vivid
  await 60 "a streaming vivid" state streaming vivid
done

mark unbound
echo -n vivid.0 >/sys/bus/platform/drivers/vivid/unbind
await 30 "the loss of vivid" unwell vivid
mark bound
echo -n vivid.0 >/sys/bus/platform/drivers/vivid/bind
await 60 "a streaming vivid" state streaming vivid
running || die "the daemon is gone"
kill -TERM "$DAEMON"
wait "$DAEMON"
result exit $?
