# vivid and v4l2loopback as cameras, with nobody in the picture: they stream, and there is no verdict.
. /host/lib.sh
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x00
modprobe v4l2loopback video_nr=10 exclusive_caps=1 devices=1
broker start
listen
{
  printf '%s\n' 'device: lab' 'log: {format: json}' 'decision: {window: 20s, timeout: 2m}' 'cameras:'
  printf '  %s\n' 'vivid: {path: /dev/video0, format: YUYV, fps: 5}' 'loopback: {path: /dev/video10, fps: 5}'
} >livenessd.yaml

mark start
start_daemon
await 120 "a streaming vivid" state streaming vivid
await 60 "a loopback device that nothing feeds" state failed loopback

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
