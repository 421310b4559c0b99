# verdicts.sh FORMAT FPS: people and attacks in front of the USB camera; unplugging; the daemon's two ends.
. /host/lib.sh
broker start
listen
configure "$1" "$2"
plug live

mark start
start_daemon
await 120 "a streaming camera" state streaming
heard availability '"payload":"online"' || die "a state, and not online"
await 180 "a live verdict" verdict live

mark unplugged
unplug

mark plugged
plug live
await 60 "a streaming camera" state streaming
await 180 "a live verdict" verdict live
unplug

mark replay
plug replay
await 180 "a spoof verdict" verdict spoof
await 20 "its attack message" heard camera/front/attack spoof
running || die "the daemon is gone"

mark term
start=$(date +%s.%N)
kill -TERM "$DAEMON"
wait "$DAEMON"
result term_exit $?
result term_seconds "$(since "$start")"
await 20 "an offline" heard availability '"payload":"offline"'

mark again
start_daemon
await 120 "an online" heard availability '"payload":"online"'

mark kill
kill -KILL "$DAEMON"
wait "$DAEMON"
await 20 "an offline" heard availability '"payload":"offline"'
