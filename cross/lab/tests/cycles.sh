# cycles N: a USB camera is plugged in and unplugged N times, half of the times as soon as its frames come, half of the times up to 0.8 s later. Not
# before: now and then Linux 6.1 trips over itself when a camera goes while it is being opened (docs/recovery.md). What the daemon holds meanwhile lies in /host/out/held: cycle, descriptors, mappings, threads, goroutines, kilobytes.
. /host/lib.sh
N=$1
RANDOM=7
modprobe -a vhci-hcd uvcvideo
mkfifo camera
exec 7<>camera
broker start
listen
{
  printf '%s\n' 'device: lab' 'log: {format: json}' 'metrics: {listen: 127.0.0.1:9464}' 'decision: {window: 20s, timeout: 2m, cues: {repeat: off}}' 'cameras:'
  printf '  %s\n' "front: {path: $CAMERA, allow_virtual: true, format: MJPG, fps: 5}"
} >livenessd.yaml

streams() { [ "$(grep -c '"camera streaming"' daemon.log)" -gt "$STREAMED" ]; }
gone() { [ ! -e "$CAMERA" ]; }
# until_now SECONDS WHAT COMMAND: as await, without a word and sooner.
until_now() {
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ $SECONDS -lt $limit ] || die "no $what in cycle $k"
    sleep 0.05
  done
}
plug_in() {
  STREAMED=$(grep -c '"camera streaming"' daemon.log)
  uvccam /run/scenes/00[0-4].jpg <camera 2>>uvccam.log &
}
held() {
  echo "$k $(ls "/proc/$DAEMON/fd" | wc -l) $(wc -l <"/proc/$DAEMON/maps") $(ls "/proc/$DAEMON/task" | wc -l)" \
    "$(curl -s http://127.0.0.1:9464/metrics | awk '$1 == "go_goroutines" { print $2 }')" \
    "$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$DAEMON/status")" | tee -a /host/out/held
}

k=0
plug_in
start_daemon
until_now 120 "streaming camera" streams
sleep 3
echo "cycle descriptors mappings threads goroutines kilobytes"
held
begin=$(date +%s.%N)
for ((k = 1; k <= N; k++)); do
  tell unplug
  until_now 30 "end of the camera" gone
  plug_in
  until_now 60 "streaming camera" streams
  if ((k % 50 == 0)); then
    sleep 2
    held
  elif ((k % 2)); then
    sleep "0.$(printf %03d $((RANDOM % 800)))"
  fi
  running || die "the daemon is gone in cycle $k"
done
k=$N
until_now 60 "streaming camera" streams
sleep 10
result seconds "$(since "$begin")"
result streamed "$(grep -c '"camera streaming"' daemon.log)"
held
kill -TERM "$DAEMON"
wait "$DAEMON"
result exit $?
