# recovery FAULT...: what can happen to a camera, one thing after the other, and how long it takes until frames come again. For each fault the
# results have the moment from which it can recover; the camera's state says when it did. Without faults: all there are.
. /host/lib.sh
VIVID=/dev/video8
# Those that the camera goes on with come first: one that was lost three times is alarmed for ten minutes.
USB="half flaky faulty unplugged_streaming unplugged_in_a_frame unplugged_opening unplugged_negotiating unplugged_starting unplugged_closing
  another_node another_number freeze error short empty stall proto busy deaf wedge"
OTHER="taken flagged dropping fatal reqbufs qbuf streamon unbound"
[ $# -gt 0 ] || set -- $OTHER $USB
wants() { local f; for f in "${FAULTS[@]}"; do [ "$f" != "$1" ] || return 0; done; return 1; }
FAULTS=("$@")

modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x00 vid_cap_nr=8
udevadm settle
broker start
listen
configure MJPG 10
printf '  %s\n' "vivid: {path: $VIVID, allow_virtual: true, format: YUYV, fps: 5}" >>livenessd.yaml

# The moment from which the camera can be had again. What it says of its state afterwards is its recovery.
healed() { mark "after-$1"; result "$1" "$(date +%s.%N)"; }
back() { await 120 "a streaming camera" state streaming "$@"; running || die "the daemon is gone"; }
alarm() { heard "camera/${2:-front}/state" "\"state\":\"alarmed\".*\"alarms\":\[[^]]*\"$1\""; }
sound() { heard "camera/${1:-front}/state" "\"health\":{\"state\":\"healthy\""; }
vivid() { v4l2-ctl -d "$VIVID" -c "$1"; }
gone() { [ ! -e "$CAMERA" ]; }
# again plugs the camera in again: with a few pictures, which it has read at once.
again() {
  uvccam /run/scenes/00[0-4].jpg <camera 2>>uvccam.log &
  await 60 "a camera" test -e "$CAMERA"
}

if wants taken; then
  v4l2-ctl -d "$VIVID" --set-fmt-video=width=640,height=480,pixelformat=YUYV --stream-mmap >/dev/null 2>&1 &
  other=$!
  streams() { v4l2-ctl -d "$VIVID" --set-fmt-video=width=320,height=180 2>&1 | grep -qi busy; }
  await 30 "another program that streams" streams
  mark taken
fi
plug none
start_daemon
await 120 "a streaming camera" state streaming
if wants taken; then
  await 120 "a camera that is taken" state failed vivid
  kill "$other"
  healed taken
fi
await 120 "a streaming vivid" state streaming vivid

for fault in "${FAULTS[@]}"; do
  [ "$fault" != taken ] || continue
  mark "$fault"
  case $fault in
  unplugged_streaming)
    unplug
    healed "$fault"
    again
    back
    ;;
  unplugged_in_a_frame)
    tell "unplug streaming"
    await 30 "trouble" unwell
    healed "$fault"
    again
    back
    ;;
  unplugged_opening) # nothing goes over the bus then: at any moment of the first second
    unplug
    for delay in 0.05 0.15 0.2 0.25 0.3 0.35 0.4 0.5 0.65 0.9; do
      again >/dev/null
      sleep $delay
      tell unplug
      await 30 "the end of the camera" gone >/dev/null
    done
    mark "once more"
    healed "$fault"
    again
    back
    ;;
  unplugged_negotiating | unplugged_starting | unplugged_closing)
    tell freeze # so that it is closed and opened again
    tell "unplug ${fault#unplugged_}"
    await 60 "the end of the camera" gone
    await 30 "trouble" unwell
    healed "$fault"
    again
    back
    ;;
  another_node) # somebody has the node open, so that its number isn't free; the name by-id goes with the camera
    was=$(readlink -f "$CAMERA")
    sleep 1000 <"$was" &
    holder=$!
    unplug
    healed "$fault"
    again
    back
    [ "$(readlink -f "$CAMERA")" != "$was" ] || die "it has the same node"
    kill "$holder"
    ;;
  another_number) # the same for a configuration that has the number
    sed -i "s|path: $CAMERA|path: $(readlink -f "$CAMERA")|" livenessd.yaml
    kill -HUP "$DAEMON"
    await 120 "a streaming camera" state streaming
    await 120 "a streaming vivid" state streaming vivid
    mark "$fault"
    was=$(readlink -f "$CAMERA")
    sleep 1000 <"$was" &
    holder=$!
    unplug
    healed "$fault"
    again
    back
    [ "$(readlink -f "$CAMERA")" != "$was" ] || die "it has the same node"
    kill "$holder"
    sed -i "s|path: $was|path: $CAMERA|" livenessd.yaml
    mark "back to the name"
    kill -HUP "$DAEMON"
    await 120 "a streaming camera" state streaming
    await 120 "a streaming vivid" state streaming vivid
    ;;
  freeze | error | short | empty | stall | proto | busy | deaf)
    tell "$fault"
    await 60 "trouble" unwell
    [ "$fault" != busy ] || await 60 "a refusal" logged 'input/output error'
    tell go
    healed "$fault"
    back
    ;;
  wedge) # nothing helps but a reset
    healed "$fault"
    tell wedge
    await 60 "trouble" unwell
    back
    logged '"camera reset"' || die "it came back without a reset"
    ;;
  half | flaky | faulty)
    want=gaps
    [ "$fault" != half ] || want=slow
    if [ "$fault" = faulty ]; then # the driver hands out what it drops otherwise
      want=faulty
      echo 1 >/sys/module/uvcvideo/parameters/nodrop # counts from the next time that it is plugged in
      unplug
      again
      back
      mark "$fault"
    fi
    [ "$fault" = half ] && tell half || tell flaky
    await 90 "an alarm" alarm $want
    ! unwell || die "it was lost"
    tell go
    healed "$fault"
    await 90 "a healthy camera" sound
    echo 0 >/sys/module/uvcvideo/parameters/nodrop
    ;;
  fatal)
    healed "$fault" # by itself
    vivid inject_fatal_streaming_error=1
    await 30 "trouble" unwell vivid
    back vivid
    ;;
  qbuf)
    healed "$fault"
    vivid inject_vidioc_qbuf_error=1
    await 30 "trouble" unwell vivid
    back vivid
    ;;
  reqbufs | streamon) # once, when it is opened again
    healed "$fault"
    vivid inject_vidioc_${fault}_error=1
    vivid inject_fatal_streaming_error=1
    await 30 "trouble" unwell vivid
    back vivid
    ;;
  flagged) # one frame, which is no trouble
    result flagged_before "$(grep -c . messages)"
    for _ in 1 2 3 4 5; do
      vivid inject_v4l2_buf_flag_error=1
      sleep 0.5
    done
    ! unwell vivid || die "it was lost"
    ;;
  dropping)
    vivid percentage_of_dropped_buffers=30
    await 90 "an alarm" alarm gaps vivid
    ! unwell vivid || die "it was lost"
    vivid percentage_of_dropped_buffers=0
    healed "$fault"
    await 90 "a healthy camera" sound vivid
    ;;
  unbound)
    echo -n vivid.0 >/sys/bus/platform/drivers/vivid/unbind
    await 30 "trouble" unwell vivid
    healed "$fault"
    echo -n vivid.0 >/sys/bus/platform/drivers/vivid/bind
    back vivid
    ;;
  *) die "no fault $fault" ;;
  esac
done

mark end
kill -TERM "$DAEMON"
wait "$DAEMON"
result exit $?
