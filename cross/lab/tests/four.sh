# Four cameras at once, one of which fails all the time from some moment on: what the others bring before and after is in scrapes of the metrics.
. /host/lib.sh
BAD=/dev/v4l/by-id/usb-Lab_Lab_UVC_camera_LAB0002-video-index0
WATCHED=${1:-60}
modprobe -a vhci-hcd uvcvideo
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x00 vid_cap_nr=8
modprobe v4l2loopback video_nr=10 exclusive_caps=1 devices=1
mkfifo camera bad
exec 7<>camera 6<>bad
broker start
listen
{
  printf '%s\n' 'device: lab' 'log: {format: json}' 'metrics: {listen: 127.0.0.1:9464}' 'decision: {window: 20s, timeout: 2m, cues: {repeat: off}}' 'cameras:'
  printf '  %s\n' "usb: {path: $CAMERA, allow_virtual: true, format: MJPG, fps: 10}" 'vivid: {path: /dev/video8, allow_virtual: true, format: YUYV, fps: 5}' \
    'loopback: {path: /dev/video10, allow_virtual: true, fps: 5}' "bad: {path: $BAD, allow_virtual: true, format: MJPG, fps: 10}"
} >livenessd.yaml
size=$((640 * 480 * 2))
dd if=scenes/frames.yuyv of=empty.yuyv bs=$size count=5 status=none
camfeed /dev/video10 640x480 YUYV 5 empty.yuyv &
uvccam -p 0 -n LAB0001 /run/scenes/00[0-4].jpg <camera 2>>uvccam.log &
plug_bad() { uvccam -p 1 -n LAB0002 /run/scenes/00[0-4].jpg <bad 2>>bad.log & }
plug_bad
await 60 "a USB camera" test -e "$CAMERA"
await 60 "another" test -e "$BAD"
start_daemon
for c in usb vivid loopback bad; do
  await 120 "a streaming $c" state streaming $c
done
sleep 5

# scrape NAME asks for the metrics, without another program: to start one takes its time here, and the moment counts.
scrape() {
  local at
  exec 9<>/dev/tcp/127.0.0.1/9464
  at=$EPOCHREALTIME
  printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&9
  cat <&9 >"/host/out/$1"
  exec 9>&-
  result "$1" "$at"
}
mark well
scrape well-begin
sleep "$WATCHED"
scrape well-end

mark failing
scrape failing-begin
until=$((SECONDS + WATCHED))
rounds=0
while [ $SECONDS -lt $until ]; do
  for fault in stall proto short busy; do
    echo $fault >&6
    sleep 3
    echo go >&6
    sleep 0.5
  done
  echo unplug >&6
  sleep 1
  plug_bad
  sleep 2
  rounds=$((rounds + 1))
done
scrape failing-end
result rounds $rounds

# A camera that doesn't answer holds up nobody, not even the end.
mark deaf
echo deaf >&6
sleep 8
scrape deaf-begin
sleep 30
scrape deaf-end
running || die "the daemon is gone"
start=$(date +%s.%N)
kill -TERM "$DAEMON"
wait "$DAEMON"
result exit $?
result end_seconds "$(since "$start")"
